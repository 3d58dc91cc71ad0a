"""Names that other tools give to our options: some are accepted, others get a hint.

The words are those of timm, torchvision's references, Ultralytics, MMEngine, Keras, Lightning and Transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SYNONYMS: Mapping[str, str] = {
    "accumulate": "accum grad_accum grad_accum_steps gradient_accumulation_steps accumulate_grad_batches",
    "amp": "precision mixed_precision",
    "network": "a arch architecture model_name net",  # ahead of backbone: train has both
    "augment": "aug augmentation augmentations",
    "backbone": "a arch architecture encoder encoder_name",
    "batch": "b bs batch_size",
    "class_weights": "class_weight cls_weights loss_weights pos_weight",
    "clip": "clip_grad clip_grad_norm grad_clip gradient_clip_val max_grad_norm clipnorm",
    "compile": "torchcompile torch_compile",
    "decay": "gamma lr_gamma decay_rate",
    "decay_norms": "norm_weight_decay",
    "ema": "ema_decay model_ema_decay ema_momentum",
    "epochs": "max_epochs num_epochs n_epochs num_train_epochs train_epochs",
    "evaluate_every": "eval_every eval_steps val_interval val_check_interval",
    "jobs": "j",
    "keep": "checkpoint_hist save_total_limit save_top_k max_keep_ckpts",
    "label_smoothing": "smoothing label_smoothing_factor",
    "learning_rate": "lr lr0 base_lr max_lr",
    "log_every": "log_interval print_freq logging_steps log_every_n_steps",
    "mechanism": "attention attention_type attn attn_layer",
    "mechanisms": "attention attentions attn",
    "model": "checkpoint ckpt ckpt_path weights w",
    "optimizer": "opt optim optimiser",
    "out": "o output output_dir outdir out_dir save_dir work_dir default_root_dir logdir",
    "patience": "patience_epochs early_stopping_patience",
    "protocol": "inference_mode",
    "query": "point",
    "schedule": "sched scheduler lr_scheduler lr_schedule lr_scheduler_type",
    "sampling": "sampler balanced_sampling weighted_sampler",
    "score": "eval_metric best_metric metric_for_best_model monitor",
    "seed": "random_seed seed_everything",
    "seeds": "num_seeds n_seeds repeats trials",
    "size": "imgsz img img_size image_size input_size crop_size train_crop_size resolution",
    "steps": "max_steps max_iters num_steps iterations iters",
    "warmup": "warmup_ratio warmup_fraction",
    "weight_decay": "wd l2",
    "workers": "j num_workers dataloader_num_workers",
}  # fmt: skip
"""Our names, each with other tools' words for the same thing; a word counts if a command has that option."""

_RESUME = "run the same command again: it resumes from the newest checkpoint by itself"
_DATA = "give it without an option, right after the command: saccade {command} DATA"
_MODEL = {
    "train": "the network to train is --network NAME; weights to start from are --pretrained PATH",
    "compare": "the network to compare on is --backbone NAME; weights to start from are --pretrained PATH",
    "plan": "give the network and the mechanism without options: saccade plan resnet50 cbam",
}
_WEIGHTS = {
    "train": "weights to start from are --pretrained PATH; an interrupted training resumes with the same command",
    "compare": "weights to start from are --pretrained PATH; an interrupted comparison resumes with the same command",
    "look": "a trained network is --model PATH; weights of a backbone are --pretrained PATH",
}
_SEVERAL = "several GPUs or machines: torchrun --nproc-per-node=4 -m saccade train DATA --network NAME"

HINTS: Mapping[str, str | Mapping[str, str]] = {
    "resume resume_from resume_from_checkpoint auto_resume start_epoch no_resume_opt": {
        "train": _RESUME,
        "compare": "run the same command again: it does what is still missing",
    },
    "model m cfg_model": _MODEL,
    "weights checkpoint ckpt ckpt_path load_from initial_checkpoint init_checkpoint": _WEIGHTS,
    "data d data_dir data_path data_root dataset root train_dir source input": _DATA,
    "opt optim optimizer optimiser wd weight_decay momentum sched scheduler schedule amp precision recipe": {
        "compare": "all arms are trained by one recipe; saccade train takes options for it"
    },
    "num_classes nc n_classes nb_classes classes": "the number of classes follows from the folder of images",
    "project name experiment exp run_name": "--out names the folder for the results",
    "exist_ok nosave": "a folder is never overwritten unasked: the same command resumes, --overwrite starts over",
    "overwrite_output_dir force": "--overwrite starts over in the same folder",
    "config c cfg cfg_options hyp params": "options are given by name; saccade list --recipes shows the recipes",
    "test_only evaluate eval e val validate do_eval": "saccade evaluate DATA --model RUN scores a trained network",
    "val_split validation_split val_dir validation_data val_data split": (
        "put images into train/ and val/; a folder without them is split 80/20, differently for each --split-seed"
    ),
    "warmup_epochs warmup_steps warmup_iters lr_warmup_epochs warmup_lr": "--warmup is a fraction of the steps: 0.05",
    "decay_epochs lr_step_size step_size milestones": "--decay-every is a fraction of the steps: 0.3",
    "lrf min_lr final_lr eta_min": "the last rate follows from --schedule",
    "cos_lr cosine": "--schedule cosine",
    "model_ema use_ema": "--ema takes the decay: 0.999",
    "fp16 half bf16 use_amp native_amp amp_dtype dtype": "--amp takes bf16 or fp16",
    "save_period save_every save_freq checkpoint_every save_interval": (
        "--checkpoint-seconds is the time between checkpoints"
    ),
    "per_device_train_batch_size batch_size_per_gpu samples_per_gpu": "--batch counts the images of all processes",
    "steps_per_epoch": "--steps is the length of the whole training, --epochs the passes through the data",
    "freeze freeze_backbone frozen_stages": 'give those parameters a rate of 0: --lr-factor "layer1.*=0"',
    "mixup mixup_alpha cutmix aa auto_augment autoaugment randaugment hflip fliplr mosaic color_jitter scale ratio": (
        "--augment names a set of changes; a Dataset of your own changes images as you like, see saccade.train"
    ),
    "loss criterion": "the loss follows from the task",
    "log_wandb wandb mlflow logger": "--tensorboard writes files for TensorBoard; log.csv is always written",
    "gpu gpus gpu_id gpu_ids devices accelerator cuda": "--device cuda, or --device cpu; " + _SEVERAL,
    "launcher world_size dist_url rank local_rank multiprocessing_distributed distributed strategy nproc": _SEVERAL,
    "sync_bn sync_bnorm sync_batchnorm": "batch norms of several GPUs are synchronised by themselves",
    "verbose v": "progress is shown anyway; --debug shows the traceback of an error",
    "q silent no_progress": "--quiet prints the result only",
    "conf iou threshold": "there are no detections to filter; saccade predict names classes",
    "tta multi_scale": "--protocol multi-scale of saccade evaluate and saccade predict",
}
"""Words without an equivalent here, each with what to do instead; by command if that differs."""

_BY_WORD = [(word, ours) for ours, words in SYNONYMS.items() for word in words.split()]


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return which of the known options another tool's word stands for; None if it stands for none of them."""
    known, plain = set(known), plain_word(word)
    return next((ours for theirs, ours in _BY_WORD if theirs == plain and ours in known), None)


def hint_for(word: str, command: str) -> str | None:
    """Return what to do instead of an option of another tool; None if there is no advice."""
    plain = plain_word(word)
    for words, hint in HINTS.items():
        if plain in words.split():
            found = hint if isinstance(hint, str) else hint.get(command)
            if found is not None:
                return found.replace("{command}", command)
    return None


def plain_word(word: str) -> str:
    """Return ``--Batch-Size`` as ``batch_size``."""
    return word.lstrip("-").replace("-", "_").lower()
