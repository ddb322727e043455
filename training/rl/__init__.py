"""Reinforcement learning: the generator learns from pictures which negative prompts make them better.

`policy` scores what the generator drew, `learner` changes the network; `advantages` and `losses` are the
mathematics of it, each a plain function. `appraisal` is the mathematics of a `critic`, by `aspects` it tells prompts
apart, and `lessons` are what a policy has of it. None of them knows of pictures.
"""
