"""The page: what `atmoe` computes, drawn, put into words, and changed by hand.

Nothing is computed here.
"""
