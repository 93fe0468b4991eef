"""Suggestions for a setting or flag that does not exist: the name that was probably meant."""

import re

from ..registry import nearest

# Spellings that are accepted: the flag's short form.
ALIASES = {"lr": "learning_rate"}
# What other training programs call them.
ELSEWHERE = {
    "accumulate_steps": "accum grad_accum gradient_accumulation_steps accumulate_grad_batches",
    "augment": "augmentation augmentations transform transforms",
    "batch_size": "bs batch mini_batch train_batch_size per_device_train_batch_size",
    "checkpoint_every": "save_every save_steps save_freq save_interval",
    "clip_norm": "clip grad_clip clip_grad max_grad_norm gradient_clip_val",
    "data_dir": "data data_path data_root dataset_dir path root input_dir",
    "device": "gpu gpus cuda cpu no_cuda use_gpu accelerator place",
    "ema": "ema_decay",
    "epochs": "epoch num_epochs n_epochs max_epochs num_train_epochs nb_epoch",
    "evaluate_every": "eval_every eval_steps eval_freq eval_interval val_every",
    "init_from": "checkpoint ckpt pretrained weights load load_from init_checkpoint",
    "log_every": "log_interval log_freq log_steps logging_steps print_freq",
    "loss": "criterion loss_function loss_fn",
    "max_minutes": "max_time time_limit timeout minutes",
    "model": "net network arch architecture backbone",
    "optimizer": "optim opt optimiser solver",
    "output_dir": "out output outdir save_dir log_dir logdir work_dir run_dir save_path",
    "patience": "early_stopping early_stop",
    "plugins": "plugin import imports module modules user_dir",
    "reader": "num_workers workers loader",
    "schedule": "scheduler lr_scheduler lr_schedule",
    "seed": "random_seed manual_seed random_state",
    "threads": "num_threads cpu_threads",
    "validation_size": "val_size valid_size val_split validation_split val_ratio",
    "warmup_epochs": "warmup warmup_steps warmup_ratio",
    "weight_decay": "wd l2 regularization",
}
# Flags of the other commands, with what other launchers call them.
COMMANDS = {
    "launch": {
        "nproc": "nproc_per_node num_gpus num_processes world_size",
        "devices": "gpu_ids cuda_visible_devices",
        "nnodes": "num_nodes num_machines nodes",
        "node_rank": "machine_rank",
        "master": "master_addr dist_url rdzv_endpoint",
        "max_restarts": "restarts",
    },
    "find_lr": {"low": "min_lr start_lr", "high": "max_lr end_lr"},
    "evaluate": {"split": "", "json": ""},
    "verify_resume": {"stops": "", "kinds": "", "stop_seed": ""},
}
QUESTIONS = ("config", "help", "list", "version", "print_config")  # flags that are no settings


def file_of(command: str) -> str:
    """The name of a command's module and script. A script inspect.py would hide Python's own `inspect` from all scripts.

    >>> file_of("train"), file_of("inspect")
    ('train', 'inspect_network')
    """
    return {"inspect": "inspect_network"}.get(command, command)


def canonical(name: str) -> str:
    """A setting's name from the spellings that are accepted: batch-size, --batch_size, lr."""
    name = name.strip().lstrip("-").replace("-", "_")
    return ALIASES.get(name, name)


def flag_advice(name: str, known: list, arguments: dict) -> str:
    """What `advice` gives, with the settings written as flags."""
    return re.sub(r"(did you mean |argument: )(\w+)", r"\1--\2", advice(name, known, arguments))


def advice(name: str, known: list, arguments: dict) -> str:
    """A sentence for the setting `name`, which is none of the `known`: what may have been meant.

    `arguments` gives, for the name of a component's argument, the setting that takes it (dropout -> model_args).
    """
    name = canonical(name)
    for command, flags in COMMANDS.items():
        if name in flags:
            return f"it is a flag {_place(command)}"
    if name in QUESTIONS:
        return f"it is a flag of the command line, --{name}, and no setting"
    if name in arguments:
        return f"it is an argument: {arguments[name]}, with {name}=..."
    sentences = {}  # squashed spelling -> what to say of it; the command's own flags replace those of others
    for command, flags in COMMANDS.items():
        for own, others in flags.items():
            sentence = f"did you mean {own}? It is a flag {_place(command)}"
            sentences.update({_squash(spelling): sentence for spelling in (own, *others.split())})
    shorts = {own: short for short, own in ALIASES.items()}
    for own in known:
        spellings = (*ELSEWHERE.get(own, "").split(), shorts.get(own, own), own)
        sentences.update({_squash(spelling): f"did you mean {own}?" for spelling in spellings})
    near = nearest(_squash(name), sentences, cutoff=0.7)
    return sentences[near] if near else "--help lists all"


def _place(command: str) -> str:
    return f"of {command}: scripts/{file_of(command)}.py or mnist-paddle {command.replace('_', '-')}"


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
