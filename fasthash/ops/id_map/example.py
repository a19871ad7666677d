"""What the self-test computes by every kernel of the room."""

from __future__ import annotations

import torch

from fasthash.ops.id_map.op import find_ids, insert_ids, new_table

TOLERANCE = 0.0


def example(kernel: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return where ids are, before and after some are removed and one of those comes back, and which is repeated."""
    generator = torch.Generator().manual_seed(0)
    ids = (torch.randperm(1000, generator=generator, device="cpu") * 0x123456789ABC - 2**45).to(device)
    table = new_table(len(ids) + 2)
    repeated = [insert_ids(table, ids[:600], 0, kernel=kernel), insert_ids(table, ids, 600, kernel=kernel)]
    found = [find_ids(table, ids, None, torch.cat([ids, ids + 1]), kernel=kernel)]
    live = torch.randint(0, 256, (125,), dtype=torch.uint8, generator=generator, device="cpu").to(device)
    live[0], live[-1] = 0b11111110, 0b11111111
    back = torch.cat([ids, ids[:1], ids[-1:]])  # the id that is not live, and one that is
    repeated.append(insert_ids(table, back, 1000, live, kernel=kernel))
    found.append(find_ids(table, ids, live, ids, kernel=kernel))
    return (*found, torch.tensor(repeated, device="cpu"))
