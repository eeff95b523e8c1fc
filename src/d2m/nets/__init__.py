"""The networks of Dancing2Music as plain nn.Modules, and their losses: tensors in, tensors out, no Lightning."""
