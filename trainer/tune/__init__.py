"""Search over hyper-parameters, begun at the champion's."""
