"""Puts stubs in the place of the GPU libraries that PyPI's torch loads, so that it can be imported without them.

Usage: stubs.py SITE-PACKAGES. The real ones are 4 GB. Nothing calls a stub: torch finds no GPU, and vLLM uses its CPU kernels.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Each library, which symbols of torch's are its own, and the version that these have in it, if any.
LIBRARIES = [
    ("libcublas.so.13", r"cublas(?!Lt)", "libcublas.so.13"),
    ("libcublasLt.so.13", r"cublasLt", "libcublasLt.so.13"),
    ("libcudnn.so.9", r"cudnn", "libcudnn.so.9"),
    ("libcufft.so.12", r"cufft", "libcufft.so.12"),
    ("libcufile.so.0", r"cuFile", None),
    ("libcurand.so.10", r"curand", None),
    ("libcusolver.so.12", r"cusolver", "libcusolver.so.12"),
    ("libcusparse.so.12", r"cusparse(?!Lt)", "libcusparse.so.12"),
    ("libcusparseLt.so.0", r"cusparseLt", None),
    ("libnccl.so.2", r"p?nccl[A-Z]", None),
    ("libnvrtc.so.13", r"nvrtc", "libnvrtc.so.13"),
    ("libnvshmem_host.so.3", r"nvshmem", "NVSHMEM"),
]
SHARED_OBJECT = b"\x7fELF"
SYMBOL = re.compile(rb"\b(?:cu|p?nccl|nv)[A-Za-z]\w+")


def names_in(library):
    """What may be a symbol: all words of that form, in torch's libraries. More than needed does no harm."""
    data = library.read_bytes()
    return {word.decode() for word in SYMBOL.findall(data)} if data.startswith(SHARED_OBJECT) else set()


def build(place, name, symbols, version):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "stub.c")
        source.write_text("".join(f"int {symbol}(void) {{ return 1; }}\n" for symbol in symbols), encoding="utf-8")
        command = ["cc", "-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(place / name), str(source)]
        if version:
            versions = pathlib.Path(folder, "stub.map")
            versions.write_text(f"{version} {{ global: *; }};\n", encoding="utf-8")
            command.append(f"-Wl,--version-script,{versions}")
        subprocess.run(command, check=True)


def main():
    packages = pathlib.Path(sys.argv[1])
    place = packages / "nvidia/cu13/lib"
    place.mkdir(parents=True, exist_ok=True)
    names = set().union(*map(names_in, (packages / "torch/lib").glob("*.so*")))
    for name, pattern, version in LIBRARIES:
        build(place, name, sorted(symbol for symbol in names if re.match(pattern, symbol)), version)


if __name__ == "__main__":
    main()
