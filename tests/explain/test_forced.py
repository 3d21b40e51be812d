"""The memory route: against the dense weights of the memory, a word and a patch at a time."""

import numpy as np
import pytest
import torch

from r2cmn.explain import explain_batch
from r2cmn.explain.forced import has_memory_route
from r2cmn.memory import NoMemory, SeparateMemory


@pytest.mark.parametrize("memory", ["cross_modal", "separate"])
def test_similarity_is_the_bhattacharyya_coefficient_of_word_and_patch(memory, make_module, images):
    module = make_module("transformer", memory)
    found = explain_batch(module, images, routes=("memory",))
    model = module.model
    with torch.no_grad():
        patches = model.memory.visual_network.weights(model.backbone(images))  # (B, T, S, N)
        for study, each in enumerate(found):
            assert set(each.maps) == {"memory"}
            for place, token in enumerate(each.tokens):
                # where the decoder reads the word: one place after the opening 0
                word = model.encoder_decoder.embed(torch.tensor([[token]]), torch.tensor([place + 1]))
                used = model.memory.textual_network.weights(word)[0, :, 0]  # (T, N)
                expected = (used[:, None] * patches[study]).sqrt().sum(-1)
                np.testing.assert_allclose(each.maps["memory"][place], expected.numpy(), atol=1e-9)
                top = used.topk(3)
                np.testing.assert_allclose(each.vectors["words_weight"][place], top.values.numpy(), atol=1e-12)
                for thread in range(2):
                    weights = used[thread, torch.from_numpy(each.vectors["words"][place, thread])]
                    np.testing.assert_allclose(weights.numpy(), each.vectors["words_weight"][place, thread], atol=1e-12)
            top = patches[study].topk(3)
            np.testing.assert_allclose(each.vectors["patches_weight"], top.values.numpy(), atol=1e-12)
            assert each.vectors["num_vectors"] == 6
            assert each.vectors["shared"] == (memory == "cross_modal")


def test_a_model_without_memory_has_no_such_route():
    assert not has_memory_route(NoMemory())
    memory = SeparateMemory(8, 6, 3, 2)
    assert has_memory_route(memory)
    memory.textual_network = SeparateMemory(8, 7, 3, 2).textual_network
    assert not has_memory_route(memory)
