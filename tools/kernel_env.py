"""The environment in which notebooks and tests run, wherever they are started from.

One thread, fixed hashing and one instruction set make the outputs the same on different machines; the rest
keeps libraries from going online or writing progress bars and warnings into a notebook.
"""

import platform

KERNEL_ENV = {
    "PYTHONHASHSEED": "0",
    "DPO_BOOK_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",  # the python3 kernel is this environment's, not one in the home folder
}
if platform.machine() in {"x86_64", "AMD64"}:  # newer CPUs would otherwise round differently
    KERNEL_ENV |= {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}
