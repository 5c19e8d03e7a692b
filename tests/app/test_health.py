"""/healthz, as a load balancer asks it."""

import gc

import httpx

from app import serving
from app.serving import Serving


def test_it_is_well_as_long_as_every_worker_is(tab, worlds):
    address = tab.address.partition("?")[0]
    assert httpx.get(f"{address}healthz").json() == {"status": "ok"}
    gc.collect()
    assert any(each.model is tab.model for each in serving._all)  # and not of nobody
    dead = Serving(worlds("llama").model)
    dead.worker.close()
    try:
        reply = httpx.get(f"{address}healthz")
        assert reply.status_code == 503 and reply.json() == {"status": "closing"}
    finally:
        serving._all.discard(dead)
    assert httpx.get(f"{address}healthz").status_code == 200
