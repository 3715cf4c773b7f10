"""Where networks are computed, and in which precision, on machines that are not here."""

import pytest
import torch

from hepacast.deep.batches import has_bfloat16
from hepacast.deep.inference import one_thread, trained_device


@pytest.mark.parametrize("native", [True, False])
def test_imitated_bfloat16_does_not_count(monkeypatch, native):
    def supported(including_emulation=True):
        return True if including_emulation else native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert has_bfloat16() is native


@pytest.mark.parametrize(
    ("there", "trained", "where"), [(True, "cuda", "cuda"), (True, "cpu", "cpu"), (False, "cuda", "cpu")]
)
def test_what_was_trained_on_a_gpu_is_applied_there(monkeypatch, there, trained, where):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert trained_device({"device": trained}) == where


def test_one_thread_is_for_cpus_only():
    before = torch.get_num_threads()
    with one_thread("cuda"):
        assert torch.get_num_threads() == before
    with one_thread("cpu"):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
