"""Where models are put: what is asked for, by an argument or the environment, or one line that says why not."""

import pytest
import torch

from dpo_book import best_device, build_policy, collate, dpo_loss, sequence_logp, setup
from dpo_book.models import batch, head, shared_prompt
from dpo_book.models.batch import suited_width
from dpo_book.models.shared_prompt import collate_shared, pair_groups, shared_logp
from dpo_book.models.traits import traits_of
from dpo_book.system import devices
from dpo_book.system.devices import DeviceError, describe, find_device, hardware, precision
from dpo_book.system.processes import join
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import verdict_pairs


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "")  # so that what a test sets by itself is undone, too
    monkeypatch.delenv(devices.VARIABLE)


@pytest.fixture
def two_gpus(monkeypatch):
    """As a machine with two CUDA GPUs says it has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7 + (device.index or 0), 5))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_the_best_device_is_cuda_then_mps_then_the_cpu(no_gpu, monkeypatch):
    assert best_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device() == torch.device("mps")


def test_with_a_gpu_it_is_the_best(two_gpus):
    assert best_device() == torch.device("cuda", 0)
    assert find_device("auto") == torch.device("cuda", 0)
    assert find_device("cuda:1") == torch.device("cuda", 1)


def test_a_card_without_bfloat16_computes_in_float32(two_gpus):
    """It would imitate bfloat16, slower and less exact."""
    assert precision(torch.device("cuda", 0)) == torch.float32
    assert describe(torch.device("cuda", 0)) == "Some card (cuda), float32"
    assert precision(torch.device("cuda", 1)) == torch.bfloat16


def test_other_devices_compute_in_float32():
    assert precision(torch.device("cpu")) == precision(torch.device("mps")) == torch.float32
    assert describe(torch.device("cpu")) == "cpu, float32"


def test_by_default_models_are_on_the_cpu_whatever_there_is(two_gpus):
    assert find_device() == torch.device("cpu")


def test_the_environment_decides_where_no_argument_does(two_gpus, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "cuda:1")
    assert find_device() == torch.device("cuda", 1)
    assert find_device("cpu") == torch.device("cpu")
    monkeypatch.setenv(devices.VARIABLE, "")
    assert find_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("gpu", "device must be cpu, cuda, cuda:1 and so on, mps, or auto; got 'gpu'"),
        ("cuda:x", "got 'cuda:x'"),
        ("meta", "got 'meta'"),
        ("cuda", "device is cuda, and this machine has no such device; its best one is cpu"),
        ("mps", "device is mps, and this machine has no such device"),
    ],
)
def test_what_is_no_device_or_not_here_is_refused(asked, said, no_gpu):
    with pytest.raises(DeviceError) as error:
        find_device(asked)
    assert said in str(error.value)
    with pytest.raises(DeviceError):
        build_policy("nano", verdicts().tokenizer, device=asked)


def test_a_gpu_too_many_is_refused(two_gpus):
    with pytest.raises(DeviceError, match="cuda:2, and this machine has no such device"):
        find_device("cuda:2")


def test_what_the_environment_got_wrong_is_named(no_gpu, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    with pytest.raises(DeviceError, match="DPO_BOOK_DEVICE is cuda, and this machine has no such device"):
        find_device()


def test_setup_puts_a_chapter_on_a_device(two_gpus):
    setup(device="auto")
    assert find_device() == torch.device("cuda", 0)
    setup()  # as it was
    assert find_device() == torch.device("cuda", 0)
    setup(device="cpu")
    assert find_device() == torch.device("cpu")


def test_setup_refuses_what_is_not_here_and_changes_nothing(no_gpu):
    with pytest.raises(DeviceError, match="no such device"):
        setup(device="cuda")
    assert find_device() == torch.device("cpu")


@pytest.mark.parametrize("launched", [False, True])
def test_a_command_takes_the_gpu_unless_the_environment_says_otherwise(launched, two_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")  # as torchrun does, for one process
    if not launched:
        monkeypatch.delenv("WORLD_SIZE")
    assert join() == torch.device("cuda", 0)
    monkeypatch.setenv(devices.VARIABLE, "cpu")
    assert join() == torch.device("cpu")
    assert hardware().endswith(", 1 thread")


def test_a_command_takes_apples_gpu_only_if_it_is_asked_to(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert join() == torch.device("cpu")
    monkeypatch.setenv(devices.VARIABLE, "mps")
    assert join() == torch.device("mps")


def test_a_row_says_on_which_gpu_it_was_computed(two_gpus, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "cuda:1")
    assert hardware() == "Some card (cuda), bfloat16"


def test_a_command_says_in_one_line_that_the_device_is_not_here(book, no_gpu, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    status, _, said = book("sample", "the film", "--policy", "nowhere")
    assert status == 2 and len(said.strip().splitlines()) == 1
    assert "DPO_BOOK_DEVICE is cuda, and this machine has no such device" in said


def test_a_step_of_dpo_makes_no_tensor_on_another_device(reference):
    """As far as a device that computes nothing goes; two devices in one operation are an error there, too."""
    pairs = verdict_pairs(3)
    traits_of(reference)  # found by numbers, of which there are none there
    policy = reference.to("meta")
    chosen, rejected = shared_logp(policy, collate_shared(pair_groups(pairs), "meta")).view(-1, 2).unbind(1)
    losses, *rewards = dpo_loss(chosen, rejected, torch.zeros_like(chosen), torch.zeros_like(chosen), beta=0.5)
    losses.mean().backward()
    gradients = [parameter.grad for parameter in policy.parameters()]
    assert {tensor.device.type for tensor in [losses, *rewards, *gradients]} == {"meta"}


@pytest.mark.parametrize("columns", [1, 7, 8, 60, 64, 65, 127, 128, 500, 512, 1000, 1024, 5000])
def test_a_gpu_meets_few_widths_and_pads_little(columns):
    """Nothing on the CPU; on a GPU multiples of 8, at most an eighth more than needed, eight of them an octave."""
    assert suited_width(columns, "cpu") == columns
    width = suited_width(columns, "cuda")
    assert width % 8 == 0 and columns <= width <= max(8 * -(-columns // 8), columns * 9 / 8)
    octave = {suited_width(each, "cuda") for each in range(2**9, 2**10)}
    assert len(octave) <= 9


def test_padding_for_a_gpu_changes_no_log_probability(reference, monkeypatch):
    """Batches as wide as on a GPU, run here: the rows are the same ones."""
    pairs = verdict_pairs(6)
    groups = pair_groups(pairs)
    prompts, completions = [pair.prompt for pair in pairs], [pair.chosen for pair in pairs]
    expected = shared_logp(reference, collate_shared(groups)), sequence_logp(reference, collate(prompts, completions))
    for module in (batch, shared_prompt):
        monkeypatch.setattr(module, "suited_width", lambda columns, device: columns + 3)
    wider = collate_shared(groups), collate(prompts, completions)
    longest = max(len(pair.prompt) + len(pair.chosen) + len(pair.rejected) - 2 for pair in pairs)
    assert wider[0].input_ids.shape[1] == longest + 3
    assert wider[1].input_ids.shape[1] - 3 == max(len(x) for x in prompts) + max(len(y) for y in completions)
    torch.testing.assert_close(shared_logp(reference, wider[0]), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sequence_logp(reference, wider[1]), expected[1], rtol=1e-5, atol=1e-6)


def test_rows_of_no_token_leave_the_head_as_it_is(monkeypatch):
    """What a GPU's matrix is padded with has probability 0 and no gradient."""
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(9, 4), torch.randn(7, 4), torch.arange(9) % 7

    def with_gradients():
        h, w = hidden.clone().requires_grad_(True), weight.clone().requires_grad_(True)
        logp = head._HeadLogp.apply(h, w, targets)
        return logp, *torch.autograd.grad(logp.sum(), (h, w))

    def with_rows_of_zeros(weight, dtype):
        return torch.cat([weight, torch.zeros(5, 4)]).to(dtype)

    expected = with_gradients()
    monkeypatch.setattr(head, "_for_products", with_rows_of_zeros)
    for ours, theirs in zip(with_gradients(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
