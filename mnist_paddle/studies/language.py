"""The words of pages and figures in English and Chinese, and the font that figures need for them."""

from ..errors import UsageError
from ..tracking.names import fonts_for

LANGUAGES = ("en", "zh")

WORDS = {
    "en": {
        "holds": "holds",
        "holds only if": "holds only if",
        "does not hold": "does not hold",
        "cannot tell": "cannot tell",
        "better": "better",
        "worse": "worse",
        "claims": "Claims",
        "claim": "Claim",
        "verdict": "Verdict",
        "setup": "Set-up",
        "base": "Common to all variants",
        "variant": "variant",
        "settings": "settings",
        "ranks": "{} ranks",
        "resume": "resumed from step {1} of {0}",
        "init_from": "started with the weights of step {1} of {0}",
        "results": "Results",
        "mean": "Means over {} seeds with the 95 % interval of the mean (Student's t)",
        "single": "One run of each",
        "measured": "How it was measured",
        "command": "Run it",
        "index": "The article as experiments",
        "study": "study",
        "difference": "Differences from {}, paired by seed",
        "diverged": "{} of {} runs diverged; they count as guessing",
        "no effect": "the defaults",
        "epoch": "epoch",
        "train": "training",
        "validation": "validation",
        "font": "Font of the figures: {}.",
        "batches": "loss of each batch",
        "smoothed": "smoothed",
        "steepest": "steepest descent",
        "tenth": "a tenth of the rate with the least loss",
        "rate": "learning rate",
    },
    "zh": {
        "holds": "成立",
        "holds only if": "仅在以下条件下成立：",
        "does not hold": "不成立",
        "cannot tell": "无法判断",
        "better": "更好",
        "worse": "更差",
        "claims": "论断",
        "claim": "论断",
        "verdict": "结论",
        "setup": "实验设置",
        "base": "所有方案的共同设置",
        "variant": "方案",
        "settings": "设置",
        "ranks": "{} 个进程",
        "resume": "从“{0}”的第 {1} 步恢复训练",
        "init_from": "以“{0}”第 {1} 步的权重开始",
        "results": "结果",
        "mean": "{} 个随机种子的均值及其 95 % 置信区间（学生 t 分布）",
        "single": "每个方案运行一次",
        "measured": "测量条件",
        "command": "运行命令",
        "index": "用实验检验文章的论断",
        "study": "实验",
        "difference": "与“{}”之差，按种子配对",
        "diverged": "{1} 次运行中有 {0} 次发散，按随机猜测计",
        "no effect": "默认设置",
        "epoch": "轮次（epoch）",
        "train": "训练",
        "validation": "验证",
        "font": "图中字体：{}。",
        "batches": "每批的损失",
        "smoothed": "平滑后",
        "steepest": "下降最快处",
        "tenth": "损失最低处的十分之一",
        "rate": "学习率",
    },
}


def word(key: str, language: str, *values: object) -> str:
    """A word or sentence, with values in its places.

    >>> word("ranks", "en", 5)
    '5 ranks'
    """
    return WORDS[language][key].format(*values)


def font_of(language: str) -> str:
    """The font in which figures of a language are drawn. Raises `UsageError` where no font here has its letters."""
    fonts = fonts_for("".join(WORDS[language].values()))
    if not fonts:
        raise UsageError(
            f"--language {language}: no font here has the letters; install one, such as Noto Sans CJK "
            "(Debian and Ubuntu: apt install fonts-noto-cjk), or give --language en"
        )
    return fonts[-1]
