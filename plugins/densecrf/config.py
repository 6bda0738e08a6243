"""Dense CRF on seeds. mode="labels": argmax against a constant background, then the CRF with label unaries (IRN).
mode="alpha": background score (1 - max)^alpha and the scores themselves as unaries (AffinityNet).
"""

refine = dict(mode="labels", threshold=0.15, alpha=16.0, preset="irn", gt_prob=0.7)

ranges = dict(refine=dict(alpha="(0, inf)"))
