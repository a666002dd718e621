"""Which pairs of verdicts to show to a reader, so that sixty answers say much of a taste."""

import torch
from torch import Tensor

from dpo_book.maths.design import most_informative
from dpo_book.maths.require import require_count, require_seed
from dpo_book.worlds.taste import PRIOR_DEVIATION, feature_difference
from dpo_book.worlds.verdicts import Verdicts

LIKELY = 0.001  # what the reference says less often is hardly a sentence: nobody could tell if it is better
PROPOSED = 1500  # pairs to choose from


def pairs_to_ask(world: Verdicts, ref_logp: Tensor, size: int = 60, seed: int = 0) -> list[tuple[str, str, str]]:
    """``size`` pairs of likely verdicts for a reader to compare, as (prompt, a, b); no two are the same.

    1,500 pairs are drawn from the reference's own responses, of those it gives at least once in a thousand times. Of
    these each is chosen as the one that tells most of the weights of a taste after those before it
    (``most_informative``). ref_logp: (P, N), ``world.logp(reference)``. The same seed gives the same pairs. Responses
    begin with a space, as what goes on after a prompt: so the answers can be tokenised and trained on as they are.

    ValueError for a size above 1,500, or a reference with too few likely responses to make so many pairs of.
    """
    require_count("size", size, most=PROPOSED)
    require_seed("seed", seed)
    proposed = proposed_pairs(world, ref_logp.detach().cpu().double().exp(), seed)
    differences = torch.stack([feature_difference(*pair) for pair in proposed])
    return [proposed[place] for place in most_informative(differences, size, PRIOR_DEVIATION)]


def proposed_pairs(world: Verdicts, probability: Tensor, seed: int) -> list[tuple[str, str, str]]:
    """1,500 distinct pairs of different likely responses to one prompt, drawn by their probabilities (P, N)."""
    likely = [(row >= LIKELY).nonzero().flatten() for row in probability]
    how_many = [len(places) for places in likely]
    if min(how_many) < 2 or sum(n * (n - 1) // 2 for n in how_many) < 2 * PROPOSED:
        raise ValueError(f"the reference has {how_many} likely responses to the prompts: too few to make pairs of")
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    while len(drawn) < PROPOSED:
        x = int(torch.randint(len(likely), (1,), generator=generator))
        two = torch.multinomial(probability[x, likely[x]], 2, generator=generator)  # without replacement
        a, b = likely[x][two].tolist()
        pair = world.prompts[x], " " + world.responses[a], " " + world.responses[b]
        drawn.setdefault((x, frozenset((a, b))), pair)
    return list(drawn.values())
