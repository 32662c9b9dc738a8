"""Published accuracies of the DomainBed benchmark on digits, to be shown beside ours."""

NAN = float("nan")
PUBLISHED: dict[str, dict[str, tuple[tuple[float, ...], ...]]] = {
    "coloured": {
        "ERM": ((71.7, 72.9, 10.0, 51.5), (50.0, 50.1, 10.0, 36.7), (71.8, 72.9, 28.7, 57.8)),
        "IRM": ((72.5, 73.3, 10.2, 52.0), (46.7, 51.2, 23.1, 40.3), (72.0, 72.5, 58.5, 67.7)),
        "GroupDRO": ((73.1, 73.2, 10.0, 52.1), (50.1, 50.0, 10.2, 36.8), (73.5, 73.0, 36.8, 61.1)),
        "VREx": ((72.4, 72.9, 10.2, 51.8), (50.2, 50.5, 10.1, 36.9), (72.8, 73.0, 55.2, 67.0)),
        "CORAL": ((NAN, NAN, NAN, 51.5), (NAN,) * 4, (71.1, 73.4, 31.1, NAN)),
        "MMD": ((NAN, NAN, NAN, 51.5), (NAN,) * 4, (69.0, 70.4, 50.6, NAN)),
    },
    "rotated": {
        "ERM": ((95.9, 98.9, 98.8, 98.9, 98.9, 96.4, 98.0), (*(NAN,) * 6, 97.7), (*(NAN,) * 6, 97.8)),
        "IRM": ((95.5, 98.8, 98.7, 98.6, 98.7, 95.9, 97.7), (*(NAN,) * 6, 97.0), (*(NAN,) * 6, 97.5)),
        "GroupDRO": ((95.6, 98.9, 98.9, 99.0, 98.9, 96.5, 98.0), (*(NAN,) * 6, 97.6), (*(NAN,) * 6, 97.9)),
        "VREx": ((95.9, 99.0, 98.9, 98.9, 98.7, 96.2, 97.9), (*(NAN,) * 6, 93.6), (*(NAN,) * 6, 97.9)),
    },
}
"""By kind of domains and algorithm, in percent: for each rule of selection (training domains, leave one out, oracle)
the accuracies in the test domains, in the order of the domains, and last their average. NaN where
the number is not at hand.

Source: Gulrajani and Lopez-Paz (2021), DomainBed, results of commit 7df6f06 (2020-10-06).
"""


def published(kind: str, algorithm: str, rule: int, place: int) -> float:
    """One published share.

    Args:
        kind: of domains, ``"coloured"`` or ``"rotated"``; NaN comes back for others.
        algorithm: by DomainBed's name.
        rule: 0 training domains, 1 leave one out, 2 oracle.
        place: of the test domain; -1 is the average over all.
    """
    rows = PUBLISHED.get(kind, {}).get(algorithm)
    return NAN if rows is None else rows[rule][place] / 100
