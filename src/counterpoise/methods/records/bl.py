"""Baseline."""

from counterpoise.methods.record import Method

METHOD = Method(
    name="bl",
    title="Baseline",
    summary="Plain training: every image once per epoch, cross entropy.",
    paper="thesis, chapter 7 (BL)",
    order=0,
)
