import traceback
from gvtzoo.hub.huggingface import download
import pytest
@pytest.mark.parametrize("n", range(4))
def test_it(published, cache, monkeypatch, n):
    from huggingface_hub import constants
    monkeypatch.setattr(constants, "ENDPOINT", published.address)
    try:
        download("alice/tiny")
    except BaseException as e:
        print(type(e))
        if not isinstance(e, ValueError): traceback.print_exc()
