"""The people of the virtual camera: where their portraits lie, and where their faces are in them.

The pictures ship inside packages this one depends on and are only read, never copied. Boxes and landmarks were
measured once with YuNet (2023mar, score threshold 0.6) on the untouched files and written down to a tenth of a
pixel; outlines were traced by hand on the same pixels at fourfold size.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gate.capture.causes import Cause, lost
from gate.types import FloatArray, Image

Point = tuple[float, float]
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Portrait:
    """A face in a picture file and what it takes to cut it out. All coordinates are pixels of that file."""

    person_id: str

    package: str
    """The package that ships the picture; it is located, never imported."""

    member: str
    """The file, relative to the package's folder."""

    box_xywh: tuple[float, float, float, float]

    landmarks: tuple[Point, Point, Point, Point, Point]
    """Order as in `gate.types.Face`."""

    outline: tuple[Point, ...]
    """Closed polygon around hair, head and whatever of the neck or the clothes is kept."""

    chin_y: float
    """Row where the head ends and the neck begins."""

    skin: Rgb

    garment: Rgb
    """Colour of the clothes that are painted under the cut-out."""

    trousers: Rgb

    near_eye_px: float
    """How near the person comes: eye distance at 720 rows. Bounded by the picture's own detail."""

    height: float
    """Rise of the eyes above the camera's height, in eye distances (63 mm on average)."""

    girth: float = 1.0
    """Width of the painted body, 1 being slim."""

    body_x: float = 0.0
    """Shift of the painted body to the image's right, in eye distances."""

    keeps_clothes: bool = False
    """True when the cut-out shows the chest, so that it lies over the painted clothes and not under them."""

    fade_y: tuple[float, float] | None = None
    """Rows between which the cut-out dissolves into the painted clothes."""

    def landmarks_array(self) -> FloatArray:
        """(5, 2) float32."""
        return np.array(self.landmarks, np.float32)

    def read(self) -> Image:
        """The whole picture. Raises `CaptureError` when the package or its file is not there."""
        spec = importlib.util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        for folder in folders:
            bgr = cv2.imread(str(Path(folder) / self.member), cv2.IMREAD_COLOR)
            if bgr is not None:
                return np.ascontiguousarray(bgr[:, :, ::-1])
        raise lost(
            "virtual:",
            Cause.NOT_FOUND,
            detail=f"the portrait {self.member} of the package {self.package} cannot be read",
            remedy=f"Install {self.package} again.",
        )


_ASTRONAUT = Portrait(
    person_id="astronaut",
    package="skimage",
    member="data/astronaut.png",
    box_xywh=(178.2, 62.9, 89.9, 113.3),
    landmarks=((200.1, 101.8), (247.1, 102.6), (220.4, 124.5), (198.6, 142.8), (239.7, 143.6)),
    outline=(
        *((232, 16), (247, 17), (262, 23), (277, 34), (289, 47), (297, 62), (301, 80), (299, 100), (292, 114)),
        *((283, 125), (276, 133), (269, 137), (266, 150), (262, 164), (257, 174), (270, 184), (285, 198), (298, 215)),
        *((305, 235), (318, 240), (333, 250), (345, 266), (351, 285), (356, 310), (360, 338), (345, 350), (326, 364)),
        *((306, 386), (292, 410), (284, 436), (200, 436), (60, 436), (24, 436), (20, 400), (24, 360), (28, 330)),
        *((38, 290), (52, 262), (72, 238), (95, 222), (114, 207), (113, 190), (122, 180), (130, 165), (145, 153)),
        *((165, 149), (184, 150), (182, 134), (176, 130), (171, 120), (163, 110), (156, 98), (154, 80), (156, 62)),
        *((165, 48), (178, 40), (190, 35), (202, 24), (216, 18)),
    ),
    chin_y=176,
    skin=(205, 150, 128),
    garment=(214, 92, 50),
    trousers=(190, 78, 40),
    near_eye_px=78,
    height=-0.1,
    girth=1.06,
    body_x=-0.6,
    keeps_clothes=True,
    fade_y=(385, 434),
)

_ADMIRAL = Portrait(
    person_id="grace_hopper",
    package="matplotlib",
    member="mpl-data/sample_data/grace_hopper.jpg",
    box_xywh=(182.9, 120.5, 170.3, 212.5),
    landmarks=((227.1, 193.3), (307.8, 195.4), (266.5, 240.0), (228.5, 267.9), (302.2, 269.6)),
    outline=(
        *((258, 24), (280, 26), (300, 38), (325, 47), (345, 64), (353, 85), (362, 87), (370, 95), (372, 130)),
        *((368, 160), (372, 180), (376, 195), (370, 225), (364, 255), (358, 290), (346, 305), (333, 306), (331, 315)),
        *((345, 330), (375, 348), (420, 364), (460, 374), (488, 388), (500, 412), (511, 450), (511, 599), (14, 599)),
        *((20, 540), (26, 470), (30, 430), (42, 395), (62, 375), (110, 362), (160, 348), (190, 330), (203, 313)),
        *((198, 302), (185, 296), (168, 285), (160, 270), (161, 255), (163, 235), (154, 215), (152, 195), (156, 182)),
        *(
            (160, 165),
            (150, 150),
            (151, 125),
            (158, 100),
            (168, 88),
            (174, 80),
            (182, 62),
            (200, 48),
            (218, 38),
            (235, 27),
        ),
    ),
    chin_y=322,
    skin=(190, 130, 105),
    garment=(24, 25, 34),
    trousers=(22, 23, 30),
    near_eye_px=88,
    height=-0.8,
    girth=0.93,
    keeps_clothes=True,
    fade_y=(520, 596),
)

_GROUP = "data/images/t1.jpg"

_PLAYER_1 = Portrait(
    person_id="player_1",
    package="insightface",
    member=_GROUP,
    box_xywh=(60.9, 268.1, 106.9, 128.8),
    landmarks=((86.6, 321.1), (137.5, 311.2), (117.7, 340.1), (100.9, 363.6), (146.3, 355.4)),
    outline=(
        *((66, 242), (76, 236), (90, 234), (106, 237), (126, 246), (145, 263), (160, 283), (171, 305), (179, 330)),
        *((185, 355), (188, 380), (185, 392), (172, 397), (158, 404), (140, 412), (127, 424), (128, 436), (120, 446)),
        *((104, 450), (92, 468), (78, 474), (60, 470), (45, 460), (35, 445), (28, 425), (24, 395), (21, 360)),
        *((21, 330), (23, 305), (28, 283), (37, 265), (48, 252), (58, 245)),
    ),
    chin_y=398,
    skin=(226, 178, 146),
    garment=(58, 84, 80),
    trousers=(52, 55, 66),
    near_eye_px=64,
    height=-0.5,
    girth=0.9,
)

_PLAYER_3 = Portrait(
    person_id="player_3",
    package="insightface",
    member=_GROUP,
    box_xywh=(466.1, 266.5, 102.1, 145.2),
    landmarks=((488.3, 323.0), (540.1, 329.7), (507.2, 354.8), (484.0, 372.3), (529.0, 378.7)),
    outline=(
        *((467, 268), (472, 247), (480, 236), (492, 228), (503, 221), (520, 219), (545, 221), (565, 225), (580, 232)),
        *((591, 243), (599, 256), (605, 269), (605, 285), (601, 302), (595, 315), (590, 326), (591, 335), (588, 345)),
        *((579, 357), (569, 367), (562, 373), (556, 384), (548, 393), (540, 402), (532, 412), (520, 422), (508, 428)),
        *((497, 420), (484, 403), (476, 388), (469, 372), (466, 352), (465, 335), (463, 322), (465, 308), (469, 298)),
        *((467, 285),),
    ),
    chin_y=420,
    skin=(224, 166, 132),
    garment=(92, 96, 104),
    trousers=(44, 46, 54),
    near_eye_px=68,
    height=0.9,
)

_PLAYER_4 = Portrait(
    person_id="player_4",
    package="insightface",
    member=_GROUP,
    box_xywh=(748.7, 352.5, 98.7, 123.1),
    landmarks=((766.6, 401.4), (809.3, 403.6), (776.5, 428.0), (768.6, 446.2), (805.7, 447.1)),
    outline=(
        *((750, 320), (760, 313), (772, 308), (782, 298), (795, 292), (812, 292), (830, 295), (845, 303), (858, 315)),
        *((867, 328), (873, 340), (873, 352), (869, 368), (867, 383), (869, 393), (866, 405), (859, 417), (850, 424)),
        *((848, 440), (845, 460), (838, 488), (826, 504), (812, 503), (801, 490), (788, 481), (776, 478), (766, 473)),
        *((761, 462), (756, 450), (751, 435), (749, 415), (748, 400), (749, 385), (749, 365), (750, 350), (753, 338)),
        *((752, 330),),
    ),
    chin_y=478,
    skin=(226, 160, 126),
    garment=(128, 38, 36),
    trousers=(50, 44, 44),
    near_eye_px=60,
    height=0.6,
)

_PLAYER_6 = Portrait(
    person_id="player_6",
    package="insightface",
    member=_GROUP,
    box_xywh=(1125.7, 272.7, 95.5, 123.9),
    landmarks=((1142.9, 321.2), (1190.3, 320.0), (1160.8, 340.4), (1149.0, 363.3), (1190.0, 362.3)),
    outline=(
        *((1176, 235), (1161, 239), (1151, 247), (1143, 258), (1136, 271), (1131, 286), (1127, 300), (1125, 325)),
        *((1124, 350), (1125, 380), (1127, 410), (1129, 417), (1138, 430), (1146, 442), (1158, 456), (1180, 463)),
        *((1205, 459), (1218, 441), (1223, 431), (1240, 433), (1257, 428), (1260, 418), (1260, 400), (1259, 370)),
        *((1257, 340), (1253, 310), (1248, 290), (1243, 275), (1238, 266), (1227, 257), (1215, 248), (1204, 243)),
        *((1190, 237),),
    ),
    chin_y=400,
    skin=(228, 184, 150),
    garment=(64, 78, 116),
    trousers=(40, 44, 60),
    near_eye_px=62,
    height=-0.2,
    girth=0.9,
)

OPENERS = (_ASTRONAUT, _ADMIRAL, _PLAYER_3)
"""The sharpest portraits: whoever comes first in a round of visits is one of them."""

CLOSERS = (_PLAYER_1, _PLAYER_4, _PLAYER_6)
"""The others: whoever comes last is one of them, so that no one follows on himself between two rounds."""

PEOPLE = (*OPENERS, *CLOSERS)
