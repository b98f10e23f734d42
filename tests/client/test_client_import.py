"""Consumers pay for what they use."""

import subprocess
import sys


def test_the_client_imports_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, gate.client\n"
        "early = {'torch', 'cv2', 'redis', 'numpy'} & set(sys.modules)\n"
        "gate.client.FaceStream, gate.client.ReceivedFace\n"
        "late = {'torch', 'cv2', 'av', 'pydantic'} & set(sys.modules)\n"
        "print(sorted(early), sorted(late))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[] []"


def test_the_package_names_what_it_does_not_have() -> None:
    code = "import gate.client\ntry:\n    gate.client.Ghost\nexcept AttributeError as error:\n    print(error)\n"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Ghost" in done.stdout
