"""The words of the lessons' command in English and Chinese, those of a lesson apart."""

from ..errors import UsageError
from ..tracking.names import fonts_for

WORDS: dict[str, dict[str, str]] = {
    "lesson": {"en": "Lesson {}: {}", "zh": "第 {} 课：{}"},
    "script": {"en": "script", "zh": "脚本"},
    "keep": {"en": "keep", "zh": "保留"},
    "functions": {"en": "{}: names and arguments", "zh": "{} 的名称和参数"},
    "run": {"en": "run it", "zh": "运行"},
    "check": {"en": "check it", "zh": "检查"},
    "hint": {"en": "hint", "zh": "提示"},
    "next": {"en": "next", "zh": "下一课"},
    "list": {"en": "all lessons", "zh": "全部课程"},
    "solution": {"en": "solution", "zh": "答案"},
    "solved": {"en": "solved", "zh": "已解决"},
    "written": {"en": "written", "zh": "已写入"},
    "unchanged": {"en": "as it was given", "zh": "尚未改动"},
    "kept": {"en": "your version, left as it is", "zh": "你改过的版本，保持不动"},
    "fixed": {"en": "Lesson {} is solved: {} is fixed.", "zh": "第 {} 课已解决：{} 已修复。"},
    "not fixed": {"en": "Not fixed yet: {}", "zh": "尚未修复：{}"},
    "still broken": {"en": "{} is still as it was given.", "zh": "{} 还没有改动过。"},
    "hint of": {"en": "Hint {} of {}: {}", "zh": "提示 {}（共 {} 条）：{}"},
    "printed": {"en": "It prints:", "zh": "它打印："},
    "prints now": {"en": "The solution prints:", "zh": "改正后打印："},
    "broken curve": {"en": "as given", "zh": "改正前"},
    "fixed curve": {"en": "solution", "zh": "改正后"},
    # What a check finds, if the lesson has no words of its own for it.
    "place": {"en": "{file}, line {line}", "zh": "{file} 第 {line} 行"},
    "crash": {"en": "{place}: {text}", "zh": "{place}：{text}"},
    "endless": {
        "en": "{file} was still running after {seconds:g} s and was stopped; does a loop never end? (more: --time_limit)",
        "zh": "{file} 运行 {seconds:g} 秒后仍未结束，已被终止；是否有循环不会结束？（--time_limit 可以延长时间）",
    },
    "ended": {
        "en": "{file} ended the process before it was tested (exit status {status})",
        "zh": "{file} 在检查完成之前结束了进程（退出状态 {status}）",
    },
    "no_script": {"en": "{file} is not a Python script (.py)", "zh": "{file} 不是 Python 脚本（.py）"},
    "no_function": {
        "en": "{file} has no function {missing}; the check needs the functions {all}",
        "zh": "{file} 中没有函数 {missing}；检查需要这些函数：{all}",
    },
    "no_model": {
        "en": "train() must return the trained network; it returned an object of type {kind}",
        "zh": "train() 必须返回训练好的网络；它返回的对象类型是 {kind}",
    },
    "no_make_model": {
        "en": "the network that train() returns must be one that make_model() made",
        "zh": "train() 返回的网络必须由 make_model() 创建",
    },
    "no_loss": {
        "en": "train() must compute its loss by loss_function(outputs, labels)",
        "zh": "train() 必须用 loss_function(outputs, labels) 计算损失",
    },
    "no_steps": {
        "en": "train() makes too few steps of an optimizer of Paddle, or none",
        "zh": "train() 几乎没有（或完全没有）执行 Paddle 优化器的更新步",
    },
    "outputs": {
        "en": "the network's outputs have the shape {shape} for {expected[0]} images; {expected} is needed",
        "zh": "对 {expected[0]} 张图片，网络输出的形状是 {shape}；应为 {expected}",
    },
    "accuracy": {
        "en": "the trained network recognizes {accuracy:.1f} % of new images; at least {least} % is possible with these epochs",
        "zh": "训练后的网络在新图片上的准确率为 {accuracy:.1f} %；以这些轮数至少可以达到 {least} %",
    },
    "unchanged_weights": {
        "en": "these weights are the same after training as before: {names}",
        "zh": "这些权重在训练前后完全相同：{names}",
    },
}

# Columns that the scripts print, as axes and legends name them.
COLUMNS: dict[str, dict[str, str]] = {
    "step": {"en": "step", "zh": "步"},
    "epoch": {"en": "epoch", "zh": "轮次（epoch）"},
    "loss": {"en": "loss", "zh": "损失（loss）"},
    "accuracy": {"en": "accuracy (%)", "zh": "准确率 accuracy（%）"},
    "trained": {"en": "trained (%)", "zh": "训练好的网络 trained（%）"},
    "loaded": {"en": "loaded (%)", "zh": "重新装入的网络 loaded（%）"},
    "first": {"en": "first evaluation (%)", "zh": "第一次评估 first（%）"},
    "second": {"en": "second evaluation (%)", "zh": "第二次评估 second（%）"},
    "training": {"en": "training images (%)", "zh": "训练图片 training（%）"},
    "new": {"en": "new images (%)", "zh": "新图片 new（%）"},
    "rate": {"en": "learning rate", "zh": "学习率 rate"},
    "straight": {"en": "loss without a stop", "zh": "未中断的损失 straight"},
    "stopped": {"en": "loss with a stop", "zh": "中断后恢复的损失 stopped"},
}


def word(key: str, language: str, *values: object) -> str:
    """A word or sentence, with values in its places.

    >>> word("lesson", "en", 1, "Labels")
    'Lesson 1: Labels'
    """
    return WORDS[key][language].format(*values)


def require_font(language: str) -> None:
    """Raise `UsageError` where no font here has the letters of a language."""
    texts = "".join(text[language] for table in (WORDS, COLUMNS) for text in table.values())
    if not fonts_for(texts):
        raise UsageError(
            f"--language {language}: no font here has the letters; install one, such as Noto Sans CJK "
            "(Debian and Ubuntu: apt install fonts-noto-cjk), or give --language en"
        )
