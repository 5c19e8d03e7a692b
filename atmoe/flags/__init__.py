"""What can be said of an answer's words without a model: does it keep to its source, is a word new.

Text in, findings out. No finding says that an answer is wrong, and none says that one is right.
"""
