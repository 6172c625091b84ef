"""A convention with its prices and the parameters of its memory: what turns counts into
picojoule."""

from dataclasses import dataclass, replace
from typing import Self

from spikedriven.errors import InputError
from spikedriven.graph.memory import Memory
from spikedriven.graph.pricing import Convention, Cost, Technology

#: Partial sums of 8-bit weights need more bits than the weights; ours.
LEAST_MEMBRANE_BITS = 16


@dataclass(frozen=True)
class Prices:
    """memory: with all bits filled in; chosen: as it was given. None where the convention counts
    arithmetic only."""

    convention: Convention
    technology: Technology
    memory: Memory | None
    chosen: Memory | None

    @classmethod
    def of(
        cls, convention: Convention, technology: Technology, memory: Memory | None = None
    ) -> Self:
        """With every open number of bits filled in from the technology."""
        if convention.memory is None:
            if memory is not None:
                raise InputError(
                    f"convention {convention.name} counts no memory traffic: it takes no memory"
                )
            return cls(convention, technology, None, None)
        chosen = memory or convention.memory
        bits = technology.bits
        filled = replace(
            chosen,
            weight_bits=chosen.weight_bits or bits,
            activation_bits=chosen.activation_bits or bits,
            membrane_bits=chosen.membrane_bits or max(bits, LEAST_MEMBRANE_BITS),
        )
        return cls(convention, technology, filled, chosen)

    def at(self, technology: Technology) -> Self:
        """The same convention and memory at other prices; bits left open follow the technology."""
        return type(self).of(self.convention, technology, self.chosen)

    def arithmetic(self, cost: Cost) -> float:
        """Picojoule of the operations."""
        mac, ac = self.technology.of_weights(cost.weight_bits)
        return cost.macs * mac + cost.acs * ac

    def traffic(self, cost: Cost) -> float:
        """Picojoule of the accesses."""
        return (
            sum(self.memory.picojoule(access) for access in cost.accesses) if self.memory else 0.0
        )

    def total(self, cost: Cost) -> float:
        return self.arithmetic(cost) + self.traffic(cost)

    def moved(self, cost: Cost) -> dict[str, tuple[float, float, float]]:
        """Kind of value, and where it is if off chip -> (read, written, picojoule)."""
        found: dict[str, tuple[float, float, float]] = {}
        for access in cost.accesses:
            assert self.memory is not None
            name = access.what if access.place == "on-chip" else f"{access.what}, off chip"
            read, written, picojoule = found.get(name, (0.0, 0.0, 0.0))
            found[name] = (
                read + access.read,
                written + access.written,
                picojoule + self.memory.picojoule(access),
            )
        return found
