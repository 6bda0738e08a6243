"""Run `cam` on the embedded data and draw how well every stage finds boats (needs matplotlib)."""

import matplotlib.pyplot as plt

import wsss_bench

result = wsss_bench.run(methods=["cam"], dataset="shapes")
scores = result.frame("long")
boats = scores[scores["class"] == "boat"]
plt.bar(boats["stage"], boats["iou"])
plt.ylabel("IoU of boats in %")
plt.savefig("boats.png")
