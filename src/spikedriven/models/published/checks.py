"""How far the published files were checked here, in words that several of them share."""

#: The released code was run on weights made by a rule, and ours on the same ones.
CODE = (
    "key names, shapes and logits against the released code, on weights made by a rule; figure: "
    "needs the weights"
)
#: No golden figure of this width; the class is the one that was checked.
WIDTH = "key names and shapes against the released code; figure: needs the weights"
#: What was read, and not run.
CONFIGURATION = "configuration read; key names derived, no such file was seen"
