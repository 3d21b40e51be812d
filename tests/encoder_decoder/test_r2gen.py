"""R2Gen against loops over every slot, BASE as a special case, and every refusal."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.layers import sinusoids
from r2cmn.encoder_decoder.r2gen import ConditionalLayerNorm, R2Gen, RelationalMemory
from r2cmn.encoder_decoder.transformer import Transformer

DIM, HEADS, SLOTS, WORDS = 8, 2, 3, 11
ZERO = torch.zeros(1, dtype=torch.long)
TOKENS = torch.tensor([[0, 3, 4, 5, 1], [0, 7, 2, 0, 0]])


def make(**options):
    model = R2Gen(WORDS, DIM, 2, HEADS, 12, num_slots=SLOTS, **{"num_memory_heads": HEADS, **options})
    for parameter in model.double().eval().parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def update_by_hand(memory, slots, word):
    """One word of the relational memory, a slot and a head at a time."""
    rows, attention, size = [*slots, word], memory.attention, DIM // HEADS
    updated = []
    for slot in slots:
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            query = attention.query(slot)[part]
            weights = torch.stack([query @ attention.key(row)[part] / size**0.5 for row in rows]).softmax(0)
            heads.append(sum(w * attention.value(row)[part] for w, row in zip(weights, rows, strict=True)))
        attended = slot + attention.output(torch.cat(heads))
        attended = attended + memory.mlp[2](memory.mlp[0](attended).clamp(min=0)).clamp(min=0)
        gates = memory.word_gates(word) + memory.memory_gates(slot.tanh())
        enters, stays = gates[:DIM].sigmoid(), gates[DIM:].sigmoid()
        updated.append(enters * attended.tanh() + stays * slot)
    return updated


@torch.no_grad()
def test_the_relational_memory_after_each_word():
    memory = make().relational_memory
    words = torch.randn(2, 4, DIM, dtype=torch.float64)
    after = memory(words, memory.start(words))
    assert after.shape == (2, 4, SLOTS, DIM)
    for study in range(2):
        slots = list(torch.eye(DIM, dtype=torch.float64)[:SLOTS])
        for t in range(4):
            slots = update_by_hand(memory, slots, words[study, t])
            torch.testing.assert_close(after[study, t], torch.stack(slots))


@torch.no_grad()
def test_the_norm_follows_the_memory():
    norm = ConditionalLayerNorm(DIM, SLOTS * DIM).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    rows, memory = (torch.randn(2, 3, size, dtype=torch.float64) for size in (DIM, SLOTS * DIM))
    normed = (rows - rows.mean(-1, keepdim=True)) / (rows.std(-1, keepdim=True) + 1e-6)
    expected = (norm.weight + norm.gain_change(memory)) * normed + norm.bias + norm.bias_change(memory)
    torch.testing.assert_close(norm(rows, memory), expected)


@torch.no_grad()
def test_without_changes_of_gain_and_bias_it_is_base_without_positions_of_patches():
    model = make()
    for norm in (m for m in model.modules() if isinstance(m, ConditionalLayerNorm)):
        for change in (norm.gain_change, norm.bias_change):
            nn.init.zeros_(change[2].weight)
            nn.init.zeros_(change[2].bias)
    base = Transformer(WORDS, DIM, 2, HEADS, 12).double().eval()
    base.load_state_dict({name: model.state_dict()[name] for name in base.state_dict()})
    patches = torch.randn(2, 5, DIM, dtype=torch.float64)
    words = model.embed(TOKENS, ZERO)
    source = base.encode(patches - sinusoids(torch.arange(5), DIM, torch.float64))
    torch.testing.assert_close(model.encode(patches)["encoded"], source["encoded"], rtol=0, atol=1e-12)
    log_p = model.decode(TOKENS, words, model.encode(patches))
    torch.testing.assert_close(log_p, base.decode(TOKENS, words, source), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_state_holds_the_memory_of_the_words_so_far():
    model = make()
    source = model.encode(torch.randn(2, 5, DIM, dtype=torch.float64))
    state, words = model.start(source), model.embed(TOKENS, ZERO)
    after = model.relational_memory(words, model.relational_memory.start(words))
    forced = model.decode(TOKENS, words, source)
    for t, column in enumerate(TOKENS[:, :3].unbind(1)):
        log_p, state = model.step(column, words[:, t : t + 1], state)
        torch.testing.assert_close(state["memory"], after[:, t])
        torch.testing.assert_close(log_p, forced[:, t])
    swapped = state.reorder(torch.tensor([[0, 0], [1, 1]]))
    assert torch.equal(swapped["memory"], state["memory"][[0, 0, 1, 1]])
    assert torch.equal(model.start(source)["memory"][1], torch.eye(DIM, dtype=torch.float64)[:SLOTS])


def test_gradients_pass_through_the_memory_to_the_first_word():
    memory = make().relational_memory
    words = torch.randn(1, 6, DIM, dtype=torch.float64, requires_grad=True)
    memory(words, memory.start(words))[:, -1].sum().backward()
    assert (words.grad[0].norm(dim=-1) > 0).all()
    assert torch.autograd.gradcheck(lambda w: memory(w, memory.start(w)), words[:, :2].detach().requires_grad_())


def test_the_start_is_the_released_one():
    model = R2Gen(300, 64, num_heads=4, num_memory_heads=4)
    norms = [m for m in model.modules() if isinstance(m, ConditionalLayerNorm)]
    assert len(norms) == 9
    for norm in norms:
        biases = [norm.gain_change[0], norm.gain_change[2], norm.bias_change[0], norm.bias_change[2]]
        assert all((linear.bias == 0.1).all() for linear in biases)
        assert norm.gain_change[0].weight.abs().max().item() == pytest.approx((6 / (64 * 4)) ** 0.5, rel=0.01)
    gates = model.relational_memory.word_gates.weight
    assert gates.abs().max().item() == pytest.approx((6 / (64 * 3)) ** 0.5, rel=0.01)
    assert model.output.weight.abs().max().item() == pytest.approx(1 / 8, rel=0.01)


@pytest.mark.parametrize(
    ("key", "number"),
    [("num_slots", 0), ("num_slots", DIM + 1), ("num_memory_heads", 3), ("num_memory_heads", 0), ("num_heads", 3)],
)
def test_wrong_sizes_name_the_key(key, number):
    with pytest.raises(ValueError, match=f"encoder_decoder.{key} ") as error:
        R2Gen(WORDS, **{"dim": DIM, "num_heads": HEADS, "num_memory_heads": HEADS, key: number})
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_bfloat16_autocast_is_near_float32():
    model = make().float()
    patches = torch.randn(2, 5, DIM)
    exact = model.decode(TOKENS, model.embed(TOKENS, ZERO), model.encode(patches))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.decode(TOKENS, model.embed(TOKENS, ZERO), model.encode(patches))
        state = model.start(model.encode(patches))
        for column in TOKENS.unbind(1):
            log_p, state = model.step(column, model.embed(column[:, None], state["position"]), state)
    torch.testing.assert_close(rounded.float(), exact, atol=0.3, rtol=0.1)
    torch.testing.assert_close(log_p[0].float(), exact[0, -1], atol=0.3, rtol=0.1)


def test_dropout_acts_on_the_weights_of_the_memory():
    memory, words = RelationalMemory(64, SLOTS, HEADS), torch.randn(4, 5, 64)
    assert not torch.equal(memory(words, memory.start(words)), memory(words, memory.start(words)))
    memory.eval()
    assert torch.equal(memory(words, memory.start(words)), memory(words, memory.start(words)))


@pytest.mark.parametrize(("columns", "counts"), [
    (761, (25_487_097, 30_205_689, 34_924_281, 39_642_873)), (4336, (29_151_472, 33_870_064, 38_588_656, 43_307_248)),
])  # fmt: skip
def test_parameters_at_the_papers_size(columns, counts):
    """Of 1 to 4 slots, without the 1,049,088 of the map of patches, which is the backbone's."""
    for num_slots, count in enumerate(counts, start=1):
        with torch.device("meta"):
            model = R2Gen(columns, num_slots=num_slots)
        assert sum(parameter.numel() for parameter in model.parameters()) == count
