"""How many steps lie between two judgements, for configs that count them in blocks or in epochs."""

from mlrisk.errors import BadInput


def block_length(num_steps: int, num_blocks: int, field: str = "num_blocks") -> int:
    """Steps of one block, for configs that say how many blocks they want.

    Args:
        num_steps: of the run.
        num_blocks: a divisor of it.
        field: what the config calls the number of blocks.

    Raises:
        BadInput: the blocks do not divide the steps.
    """
    if num_steps % num_blocks:
        raise BadInput(f"{field}: {num_blocks} is not allowed, it must divide the number of steps, {num_steps}")
    return num_steps // num_blocks


def judged_steps(epochs: int, judge_every: int, steps_per_epoch: int) -> int:
    """Steps of one block, for configs that say after how many epochs they judge.

    Raises:
        BadInput: ``judge_every`` does not divide the epochs.
    """
    if judge_every < 1 or epochs % judge_every:
        raise BadInput(f"judge_every: {judge_every} is not allowed, it must divide epochs, which is {epochs}")
    return judge_every * steps_per_epoch
