"""Measuring speed so that a reader can trust it: processes that take turns, on the same weights and
inputs.

* rule.py: weights by a formula, so that no checkpoint is needed
* rates.py: what fires how often, and biases moved so that neurons fire at a wished rate
* subject.py: one network with its weights and inputs, in a folder that every process reads
* contestants.py: the ways to run it: the engine, PyTorch, torch.compile, ONNX Runtime, OpenVINO
* worker.py: a contestant in a process of its own
* rounds.py: asking them in turns; medians, quartiles, ratios per round
* contest.py: several contestants from their preparation to their row of results
* engine.py: the ways to run one network: `spikedriven bench engine`
* training.py, eager.py, neuron.py: a training step with neurons as others run them, a neuron alone:
  `bench train`
* machine.py, tables.py: what it was measured on, and the table
"""
