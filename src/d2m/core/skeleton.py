"""The skeleton and the clock of Dancing2Music: 14 joints, 15 frames per second, units of 32 frames.

Joints are the first fourteen of OpenPose's COCO-18 order. A pose is 14 joints x 2 pixel coordinates
(x right, y down), flattened row-major to 28 numbers: x of the nose, y of the nose, x of the neck, ...
Source: Lee et al., "Dancing to Music", NeurIPS 2019, section 3.1.
"""

JOINTS: tuple[str, ...] = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
)  # fmt: skip
N_JOINTS = len(JOINTS)
POSE_DIM = 2 * N_JOINTS

NECK = JOINTS.index("neck")
RIGHT_HIP = JOINTS.index("right_hip")
LEFT_HIP = JOINTS.index("left_hip")

#: (joint, joint, side) of every limb; side is "right", "left" or "middle".
LIMBS: tuple[tuple[int, int, str], ...] = (
    (0, 1, "middle"),
    (1, 2, "right"), (2, 3, "right"), (3, 4, "right"),
    (1, 5, "left"), (5, 6, "left"), (6, 7, "left"),
    (1, 8, "right"), (8, 9, "right"), (9, 10, "right"),
    (1, 11, "left"), (11, 12, "left"), (12, 13, "left"),
)  # fmt: skip

FPS = 15
UNIT_FRAMES = 32
#: Frames of a dance unit on which its four kinematic beats fall: 3 + 8 k.
BEAT_FRAMES: tuple[int, ...] = (3, 11, 19, 27)
BEAT_OFFSET = 3
BEAT_PERIOD = 8
SEQUENCE_UNITS = 3
SEQUENCE_FRAMES = SEQUENCE_UNITS * UNIT_FRAMES

#: The style network sees windows of STYLE_FRAMES (2 s) of music features, which come at FPS.
STYLE_FRAMES = 30
SAMPLE_RATE = 22050
HOP = SAMPLE_RATE // FPS
