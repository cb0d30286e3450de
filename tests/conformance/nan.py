"""Checkpoints with a NaN in one place."""
import os
import shutil

import numpy as np
import safetensors_io as st
from program import fresh


def with_nan(checkpoint, pattern, where):
    """A copy of a checkpoint in BF16 with a NaN in the tensor whose name ends in pattern."""
    folder = fresh("nan")
    shutil.copytree(checkpoint, folder)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.endswith(".safetensors"):
            continue
        header, data = st.split(path)
        for key, t in header.items():
            if key.endswith(pattern):
                at = t["data_offsets"][0] + 2 * int(np.ravel_multi_index(where, t["shape"]))
                os.chmod(path, 0o644)
                st.join(path, header, data[:at] + b"\xc0\x7f" + data[at + 2:])
                return folder
    raise KeyError(pattern)
