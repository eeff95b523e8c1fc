"""The networks of Dancing2Music as plain nn.Modules: tensors in, tensors out, no Lightning."""
