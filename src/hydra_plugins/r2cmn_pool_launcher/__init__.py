"""The Hydra launcher `pool`: each trial of a sweep a process of its own, on GPUs of its own.

Hydra executes every module of `hydra_plugins` at each start, except those whose name begins with an underscore: what
is not the plugin class itself lies in such modules, and nothing here imports torch.
"""
