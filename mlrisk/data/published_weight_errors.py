"""Published errors of estimated weights in the linear settings with unit weights, to stand beside our own."""

from typing import NamedTuple

from mlrisk.data.linear_settings import SETTINGS


class PublishedError(NamedTuple):
    """Mean and standard deviation over repetitions of a mean squared error of weights; None where not given."""

    mean: float
    deviation: float | None


COORDINATES = ("causal", "non-causal")

_COLUMNS = {
    "ERM": ".0091±.0014/.0090±.0010 .0092±.0014/.0090±.0011 .8208±.0138/.8207±.0111 .8228±.0133/.8222±.0106 "
    ".0189±.0087/.0179±.0070 .0203±.0105/.0182±.0087 .7738±.0475/.7742±.0381 .7794±.0575/.7735±.0447",
    "ICP": ".0201±.1400/.0000 .846±.359/.0011 1.000/.8035±.3242 .986±.043/.1031±.2795 "
    ".970±.171/.0000 1.000/.0000 1.000/.0000 1.000/.0000",
    "IRM": ".0029±.0026/.0024±.0025 .0041±.0038/.0035±.0034 .2565±.0177/.3333±.0157 .2572±.0165/.3328±.0153 "
    ".0152±.0119/.0142±.0105 .0190±.0200/.0159±.0167 .2149±.0242/.3399±.0195 .2203±.0254/.3401±.0195",
    "REx": ".0098±.0082/.0081±.0070 .0088±.0080/.0086±.0074 .832±.093/.846±.072 .883±.081/.888±.080 "
    ".0169±.0103/.0098±.0053 .0141±.0044/.0094±.0028 .838±.084/.843±.046 .886±.038/.895±.055",
    "REx var_diff": ".297/.191 .87/.24 .204/.314 .85/.18 .33/.15 .85/.22 .172/.359 1.28/.30",
}

PUBLISHED: dict[tuple[str, str, str], PublishedError] = {
    (method, setting, coordinate): PublishedError(float(mean), float(deviation) if deviation else None)
    for method, column in _COLUMNS.items()
    for setting, pair in zip(SETTINGS, column.split(), strict=True)
    for coordinate, number in zip(COORDINATES, pair.split("/"), strict=True)
    for mean, _, deviation in [number.partition("±")]
}
"""By method, setting and coordinates.

Source:
    ERM, ICP and IRM: 200 repetitions, from the result files of the code of Arjovsky et al. (2019). REx and REx
    var_diff were never published: 10 repetitions of an independent replication of the released scripts.
"""
