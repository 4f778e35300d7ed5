# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""CLIP's own rule: what the logits are, and that their sigmoid is the softmax."""

import torch

from fgaseg_hf.model.cosine_decoder import decode_cosines, softmax_log_odds

LOGIT_SCALE = torch.tensor(100.0).log()


def cosines(classes: int = 7) -> torch.Tensor:
    return 2 * torch.rand(2, classes, 3, 4) - 1


def test_sigmoid_of_the_logits_is_the_softmax_at_clips_temperature():
    masks = cosines()
    logits = decode_cosines(masks, LOGIT_SCALE).logits
    torch.testing.assert_close(logits.sigmoid(), (100 * masks).softmax(dim=1), atol=1e-6, rtol=1e-4)
    assert torch.equal(logits.argmax(dim=1), masks.argmax(dim=1))


def test_log_odds_stay_exact_where_one_class_is_nearly_certain():
    scores = torch.zeros(1, 4, 1, 1)
    scores[0, 2] = 80
    expected = [-80.0, -80.0, 80 - torch.tensor(3.0).log().item(), -80.0]
    torch.testing.assert_close(softmax_log_odds(scores).flatten(), torch.tensor(expected))


def test_equal_classes_share_evenly():
    torch.testing.assert_close(softmax_log_odds(torch.ones(1, 2, 1, 1)).flatten(), torch.zeros(2))


def test_a_single_word_is_certain_and_finite_and_trains():
    masks = cosines(classes=1).requires_grad_()
    logits = decode_cosines(masks, LOGIT_SCALE).logits
    torch.testing.assert_close(logits, torch.full_like(logits, 200.0))
    logits.sum().backward()
    assert torch.equal(masks.grad, torch.zeros_like(masks))


def test_topk_is_a_softmax_over_the_classes_that_peak_highest():
    masks = cosines()
    decoded = decode_cosines(masks, LOGIT_SCALE, num_kept_classes=3)
    assert decoded.kept_classes.shape == (2, 3)
    for index in range(2):
        kept = masks[index].flatten(1).amax(dim=1).topk(3).indices.sort().values
        assert torch.equal(decoded.kept_classes[index], kept)
        expected = torch.zeros(7, 3, 4)
        expected[kept] = (100 * masks[index, kept]).softmax(dim=0)
        torch.testing.assert_close(decoded.logits[index].sigmoid(), expected, atol=1e-6, rtol=1e-4)
    everything = decode_cosines(masks, LOGIT_SCALE).logits
    assert torch.equal(decode_cosines(masks, LOGIT_SCALE, num_kept_classes=9).logits, everything)


def test_half_precision_tells_near_words_apart():
    masks = torch.tensor([0.251, 0.252]).view(1, 2, 1, 1).half()
    logits = decode_cosines(masks, LOGIT_SCALE).logits
    assert logits.dtype == torch.float16
    assert logits[0, 0] < 0 < logits[0, 1]
