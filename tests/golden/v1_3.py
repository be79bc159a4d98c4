"""Golden file of container 1.3: three models linked into one file.

"images" holds CSC and ROIRESIZE from conformance cases, "camera" takes nv12 frames with a region of interest, and
"stripes" is a network cut to a small SRAM: homes, rolling buffers, weights in slices. `python tests/golden/v1_3.py`
prints what tests/golden/v1_3.json must hold; with `--write` it makes v1_3.bpux and the inputs v1_3.npz anew, which is
right only for as long as version 1.3 has not been released: later versions read these very files for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from golden.v1 import digest  # noqa: E402
from openbpu.runtime import Executable, Session  # noqa: E402

FILE = HERE / "v1_3.bpux"
INPUTS = HERE / "v1_3.npz"
DIGESTS = HERE / "v1_3.json"
MODELS = ("images", "camera", "stripes")
_SRAM = 6 * 1024


def inputs(model: str) -> dict[str, np.ndarray]:
    """The arrays that v1_3.json's digests of a model are of."""
    with np.load(INPUTS) as arrays:
        names = [name for name in arrays.files if name.startswith(f"{model}/")]
        return {name.removeprefix(f"{model}/"): arrays[name] for name in names}


# ---- making the files


def _images() -> tuple[Executable, dict[str, np.ndarray]]:
    """The first conformance case of each operation, side by side."""
    from conformance.assemble import Assembler
    from conformance.draws import draw
    from conformance.program import Program, Step

    program = Program("images")
    for op in ("CSC", "ROIRESIZE"):
        case = draw(op, 0)
        read = tuple(program.input(x) for x in case.inputs)
        y = case.expected()
        out = program.buffer(y.shape, y.dtype.name)
        program.steps.append(Step(case.op, read, out, case.params))
        program.outputs.append(out.buffer)
    data = {f"buffer{index}": np.zeros(shape, dtype) for index, (shape, dtype) in enumerate(program.buffers)}
    data |= {f"buffer{view.buffer}": x for x, view in program.inputs}
    return Executable(Assembler(program).assemble()), data


def _quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    from openbpu.pipeline import quantize

    (port,) = model.graph.input
    shape = tuple(d.dim_value or 1 for d in port.type.tensor_type.shape.dim)
    random = np.random.default_rng(3)
    samples = [random.standard_normal(shape).astype(np.float32) for _ in range(2)]
    return quantize(model, samples, calibration="max", refinement=())


def _camera() -> tuple[Executable, dict[str, np.ndarray]]:
    from openbpu.pipeline import compile
    from openbpu.preprocess import InputSpec
    from unit import float_networks

    model = _quantised(float_networks.residual())
    spec = InputSpec("nv12", "rgb", source="resizer", source_size=(48, 64), mean=127.5, scale=1 / 64)
    executable = compile(model, inputs={model.graph.input[0].name: spec}, optimize_level="O0")
    random = np.random.default_rng(4)
    data = {p.name: random.integers(0, 256, p.shape).astype(p.dtype) for p in Session(executable).inputs}
    (region,) = (name for name in data if name.endswith("_roi"))
    data[region] = np.array([[4, 2, 57, 41]], np.int32)
    return executable, data


def _stripes() -> tuple[Executable, dict[str, np.ndarray]]:
    from openbpu.frontend import prepare_qdq
    from openbpu.ir.profile import profile
    from openbpu.lower import lower
    from openbpu.schedule import schedule
    from unit import float_networks

    target = replace(profile("nash-e"), sram_bytes=_SRAM)
    executable = Executable(schedule(lower(prepare_qdq(_quantised(float_networks.residual()))), target))
    random = np.random.default_rng(5)
    return executable, {p.name: random.standard_normal(p.shape).astype(np.float32) for p in Session(executable).inputs}


def _archive(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays as .npz, without the time of day."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _write() -> None:
    from openbpu.pipeline import link

    made = dict(zip(MODELS, (_images(), _camera(), _stripes()), strict=True))
    link({name: executable for name, (executable, _) in made.items()}).save(FILE)
    INPUTS.write_bytes(_archive({f"{name}/{key}": x for name, (_, data) in made.items() for key, x in data.items()}))


def main() -> None:
    if "--write" in sys.argv:
        _write()
    data = FILE.read_bytes()
    outputs = {name: digest(Session(data, entry=name, isa="scalar").run(inputs(name))) for name in MODELS}
    print(json.dumps({"file": hashlib.sha256(data).hexdigest(), "outputs": outputs}, indent=1))


if __name__ == "__main__":
    main()
