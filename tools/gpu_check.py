"""What a machine with a GPU shows in eight minutes, as one JSON file: parity, neurons, training.

    python tools/gpu_check.py                      # writes gpu_check.json
    python tools/gpu_check.py --cpu --minutes 3    # the same checks on the CPU, smaller

parity: a network of each family in float64, on the device against the CPU: every spike and the
logits. neurons: tests/neurons/test_triton.py, the kernels against the readable neurons, values and
gradients, in four types (--cpu: in Triton's interpreter). training: `spikedriven bench train`, time
and memory of a step beside SpikingJelly's neurons and torch.compile. batch: the largest power of
two of which a training step fits. Each check has its share of the time; what does not end in it is
written as such. The file is rewritten after every check. Exit status 1 if a check failed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import spikedriven as sd
from spikedriven.bench.machine import machine
from spikedriven.files import write_atomic
from spikedriven.graph.calibrate import calibrate
from spikedriven.neurons import Neuron

ROOT = Path(__file__).parents[1]
FAMILIES = (
    "sdt_2_256_cifar",
    "spikformer_4_384_cifar",
    "spikingformer_2_384_cifar",
    "meta_spikeformer_15m",
    "e_spikeformer_5m",
    "qkformer_4_384_cifar",
)
#: Share of the time that a check may take; parity and batch look at the clock themselves.
SHARES = {"parity": 0.15, "neurons": 0.35, "training": 0.35, "batch": 0.15}
LARGEST_BATCH = {"cuda": 4096, "cpu": 8}


def parity(device: str, seconds: float) -> dict[str, Any]:
    """Share of equal neuron outputs, and the largest difference of logits, of each family."""
    end, found = time.monotonic() + seconds, {}
    for name in FAMILIES:
        if time.monotonic() > end:
            found[name] = {"status": "no time left"}
            continue
        torch.manual_seed(0)
        size = 32 if "cifar" in name else 64
        model = sd.create_model(name, img_size=size).double().eval()
        images = torch.rand(2, 3, size, size, dtype=torch.float64)
        calibrate(model, images)  # random weights that fire
        expected, fired = _outputs(model, images)
        output, again = _outputs(model.to(device), images.to(device))
        different = sum(int((a != b).sum()) for a, b in zip(fired, again, strict=True))
        difference = float((output - expected).abs().max())
        same = different == 0 and difference < 1e-9
        found[name] = {
            "status": "passed" if same else "failed",
            "neuron_outputs": sum(a.numel() for a in fired),
            "different": different,
            "rate": float(torch.cat([a.flatten() for a in fired]).mean()),
            "logits_difference": difference,
        }
    return {"status": _worst(row["status"] for row in found.values()), "families": found}


def _outputs(model: Any, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits and the outputs of all neurons, on the CPU."""
    fired: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, output: fired.append(output.cpu()))
        for module in model.modules()
        if isinstance(module, Neuron)
    ]
    with torch.no_grad():
        output = model(images).cpu()
    for hook in hooks:
        hook.remove()
    return output, fired


def neurons(device: str, seconds: float) -> dict[str, Any]:
    """pytest's last line."""
    picked = ["-k", "cuda" if device == "cuda" else "interpreter"]
    words = ["-m", "pytest", "-q", "-p", "no:randomly", "tests/neurons/test_triton.py", *picked]
    return _run(words, seconds, lambda text: {"pytest": text.strip().splitlines()[-1]})


def training(device: str, seconds: float) -> dict[str, Any]:
    """The JSON of `spikedriven bench train`."""
    words = ["-m", "spikedriven", "bench", "train", "--device", device, "--json"]
    small = ["--rounds", "2", "--batch", "4", "--model", "sdt_2_256_cifar"]
    words += small if device == "cpu" else ["--rounds", "5"]
    return _run(words, seconds, lambda text: {"bench": json.loads(text)})


def batch(device: str, seconds: float) -> dict[str, Any]:
    """The largest batch of sdt_2_512_cifar under bf16 autocast; memory as the allocator has it."""
    end, steps = time.monotonic() + seconds, []
    size, reason = 1, "the largest that is tried"
    model = sd.create_model("sdt_2_512_cifar").to(device).train()
    while size <= LARGEST_BATCH[device]:
        if time.monotonic() > end:
            reason = "no time left"
            break
        try:
            steps.append({"batch": size, **_step(model, size, device)})
        except torch.OutOfMemoryError as error:
            reason = str(error).partition(". ")[0]
            break
        size *= 2
    return {"status": "passed" if steps else "failed", "ended": reason, "steps": steps}


def _step(model: Any, size: int, device: str) -> dict[str, float]:
    images = torch.rand(size, 3, 32, 32, device=device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with torch.autocast(device, torch.bfloat16):
        loss = model(images).float().square().mean()
    loss.backward()
    model.zero_grad(set_to_none=True)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return {"seconds": time.perf_counter() - began, "peak_mb": peak / 1e6}


def _run(words: list[str], seconds: float, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """A Python of its own, so that it can be ended."""
    try:
        ended = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"status": "no time left", "seconds_given": seconds}
    if ended.returncode:
        told = f"{ended.stdout}\n{ended.stderr}".strip()
        return {"status": "failed", "exit": ended.returncode, "told": told[-3000:]}
    return {"status": "passed", **read(ended.stdout)}


def _worst(states: Any) -> str:
    found = set(states)
    return next((s for s in ("failed", "no time left") if s in found), "passed")


CHECKS: dict[str, Callable[[str, float], dict[str, Any]]] = {
    "parity": parity,
    "neurons": neurons,
    "training": training,
    "batch": batch,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--cpu", action="store_true", help="what a machine without a GPU can show")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all checks together")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    options = parser.parse_args()
    device = "cpu" if options.cpu else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --cpu runs what can run without one")
    report: dict[str, Any] = {"machine": machine(device), "checks": {}}
    for name in options.only:
        began = time.monotonic()
        try:
            found = CHECKS[name](device, 60 * options.minutes * SHARES[name])
        except Exception as error:  # one check that breaks leaves the others their results
            found = {"status": "failed", "told": f"{type(error).__name__}: {error}"}
        report["checks"][name] = {**found, "seconds": round(time.monotonic() - began, 1)}
        write_atomic(options.out, json.dumps(report, indent=1).encode())
        print(f"{name}: {found['status']}, {report['checks'][name]['seconds']} s", flush=True)
    print(f"written to {options.out}")
    return int(any(check["status"] == "failed" for check in report["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())
