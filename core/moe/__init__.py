"""The LoRA-MoE layer: experts, router, expert memory queue, losses, adapter files (torch).

`settings` needs no torch; everything else does.
"""
