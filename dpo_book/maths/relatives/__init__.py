"""What came after DPO: other losses of the same log-probabilities, all called alike and all returning a ``PairLoss``.

``margins`` change what is made of DPO's margin, ``lengths`` count tokens, ``anchors`` look at each completion alone.
"""
