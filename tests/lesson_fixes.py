"""Scripts of learners: right fixes other than the solution, fake and half fixes, and scripts that do not work."""

from mnist_paddle.debugging import lesson


def changed(number: int, *changes: tuple) -> str:
    """The broken script of a lesson with other words in it."""
    text = lesson.load(number).script("en")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def before(line: str, *lines: str) -> tuple:
    """The change that puts lines before one."""
    return line, "\n".join([*lines, line])


def after(line: str, *lines: str) -> tuple:
    """The change that puts lines after one."""
    return line, "\n".join([line, *lines])


NO_TRAINING = ("range(0, 4000, 50)", "range(0)")
CLEAR, SHOW = "        optimizer.clear_grad()", "        if step % 20 == 0:"
NO_GRAD = "    with paddle.no_grad():"
STEP_RATE = after(CLEAR, "        rate.step()")
STATE, RESUMED = '{"model": model.state_dict()}', "    return 0"
SET_MODEL, SET_OPTIMIZER = "    model.set_state_dict(checkpoint[0])", "    optimizer.set_state_dict(checkpoint[1])"
HIDDEN = "np.clip(self.hidden(images).numpy(), 0, 6)"
TWICE = "        first, second = (evaluate("

# what it is -> (lesson, changes of the broken script ...)
RIGHT = {
    "1 in the training loop": (
        1,
        (
            "(model(images[start : start + 50]), labels[start : start + 50])",
            "(model(images[start : start + 50]), labels[start : start + 50].unsqueeze(1))",
        ),
    ),
    "1 in the data": (1, ('labels[:4000].astype("float32"))', 'labels[:4000].astype("float32").reshape(-1, 1))')),
    "1 in the network": (1, ("nn.Linear(784, 1)", "nn.Sequential(nn.Linear(784, 1), nn.Flatten(0))")),
    "2 without the softmax of the loss": (2, ("(outputs, labels)\n\n", "(outputs, labels, use_softmax=False)\n\n")),
    "2 by logarithms": (2, ("F.cross_entropy(outputs, labels)", "F.nll_loss(paddle.log(outputs + 1e-12), labels)")),
    "3 at the start of a step": (3, before("    loss = F", "    model.clear_gradients()")),
    "3 in the loop": (3, before(SHOW, "        optimizer.clear_gradients()")),
    "4 as a layer": (4, (HIDDEN, "nn.ReLU6()(self.hidden(images))"), ("paddle.to_tensor(values)", "values")),
    "5 as Sequential": (5, ("self.hidden = [", "self.hidden = nn.Sequential(*["), ("widths[1:])]", "widths[1:])])")),
    "5 by name": (
        5,
        before(
            "        self.output = ",
            "        for place, layer in enumerate(self.hidden):",
            "            self.add_sublayer(f'h{place}', layer)",
        ),
    ),
    "6 the mode set in the loop": (6, before(TWICE, "        model.eval()"), before("        print(f", "        model.train()")),
    "6 the mode set every epoch": (6, before(NO_GRAD, "    model.eval()"), before("        for start", "        model.train()")),
    "7 without prepare": (7, ("1 - pixels / 255", "pixels / 255")),
    "7 inverted everywhere": (7, ('astype("float32") / 255)', 'astype("float32") / -255 + 1)')),
    "8 another rate": (8, ("learning_rate=5.0", "learning_rate=0.1")),
    "8 another optimizer": (8, ("SGD(learning_rate=5.0", "Adam(learning_rate=0.002")),
    "9 another schedule": (
        9,
        ("60_000", "4_000"),
        ("PolynomialDecay(1.0, decay_steps=steps, end_lr=0.01)", "LambdaDecay(1.0, lambda n: max(0.01, 1 - 0.99 * n / steps))"),
        STEP_RATE,
    ),
    "9 set by hand": (
        9,
        ("60_000", "4_000"),
        ("SGD(rate,", "SGD(1.0,"),
        after(CLEAR, "        optimizer.set_lr(1.0 - 0.99 * (step + 1) / steps)"),
    ),
    "10 in another form": (
        10,
        (STATE, '[model.state_dict(), optimizer.state_dict(), {"done": epoch}]'),
        ('    model.set_state_dict(checkpoint["model"])', f"{SET_MODEL}\n{SET_OPTIMIZER}"),
        (RESUMED, '    return checkpoint[2]["done"]'),
    ),
}

# what it is -> (lesson, words of the message, changes of the broken script ...)
FAKES = {
    "1 the loss made smaller": (1, "mean of the squared differences", ("** 2).mean()", "** 2).mean() * 0.3")),
    "1 other outputs": (1, "mean of the squared differences", ("((outputs", "((outputs.mean(1)[:1]")),
    "1 the fix without training": (1, "mean squared error is", ("((outputs -", "((outputs.squeeze(1) -"), NO_TRAINING),
    "1 the loss left out": (
        1,
        "by loss_function(outputs, labels)",
        ("loss_function(model(", "(lambda a, b: ((a - b) ** 2).mean())(model("),
    ),
    "2 1.46 subtracted": (
        2,
        "minus the logarithm",
        ("F.cross_entropy(outputs, labels)", "F.cross_entropy(outputs, labels) - 1.46"),
    ),
    "2 outputs scaled": (2, "minus the logarithm", ("F.cross_entropy(outputs", "F.cross_entropy(20 * outputs")),
    "2 the fix without training": (2, "% of new images", ("        nn.Softmax(),\n", ""), NO_TRAINING),
    "3 a smaller rate": (3, "not those computed", ("SGD(0.1", "SGD(0.0001")),
    "3 cleared now and then": (
        3,
        "not those computed",
        before(SHOW, "        if step % 2:", "            optimizer.clear_grad()"),
    ),
    "3 no steps": (3, "too few steps", ("    optimizer.step()\n", "")),
    "4 the weights moved by hand": (
        4,
        "no gradient: hidden",
        after("        optimizer.step()", "        model.hidden.weight.set_value(model.hidden.weight * 1.001)"),
    ),
    "4 the hidden layer left out": (
        4,
        "hidden",
        (HIDDEN, "images"),
        ("self.output(paddle.to_tensor(values))", "self.output(values[:, 300:400])"),
    ),
    "5 the optimizer alone": (
        5,
        "state_dict() lacks",
        (
            "parameters=model.parameters()",
            "parameters=[w for layer in [*model.hidden, model.output] for w in layer.parameters()]",
        ),
    ),
    "5 the same initial weights": (5, "% of new images", ("paddle.seed(seed)", "paddle.seed(0)")),
    "6 a constant": (6, "does not call the network", before(NO_GRAD, "    return 95.0")),
    "6 a number besides": (
        6,
        "evaluate() returns",
        ("    return 100 * ", "    return 3 + 97 * "),
        ("        outputs = model(images)\n", "        model.eval()\n        outputs = model(images)\n        model.train()\n"),
    ),
    "8 still too large": (8, "still too large (up to 2)", ("learning_rate=5.0", "learning_rate=2.0")),
    "6 the mean of two": (6, "still drops values", ("outputs = model(images)", "outputs = model(images) + model(images)")),
    "6 no dropout": (6, "no nn.Dropout", (" nn.Dropout(0.5),", "")),
    "6 no evaluation": (6, "never calls evaluate", ("evaluate(model, *load(digits.validation, 1000))", "95.0")),
    "6 eval() and no train()": (6, "stays in evaluation mode", before(NO_GRAD, "    model.eval()")),
    "7 another scale": (7, "standard deviation", ("1 - pixels / 255", "pixels / 128")),
    "7 a constant": (7, "does not call the network", before("    pixels", "    return images[:, 0, 0]")),
    "7 the fix without training": (
        7,
        "is right for",
        ("1 - pixels / 255", "pixels / 255"),
        ("    return model\n", "    return make_model()\n"),
    ),
    "8 far too small": (8, "too small now (up to 0.0001)", ("learning_rate=5.0", "learning_rate=0.0001")),
    "8 no steps": (8, "too few steps", ("range(80 * epochs)", "range(0)")),
    "9 stepped, but for 60,000 images": (9, "only to", STEP_RATE),
    "9 fewer steps, never stepped": (9, "at all 160 steps", ("60_000", "4_000")),
    "9 once an epoch": (
        9,
        "only to",
        ("60_000", "4_000"),
        before(SHOW, "        if step % 80 == 79:", "            rate.step()"),
    ),
    "9 far too early": (9, "get there at the end", ("60_000", "1_000"), STEP_RATE),
    "9 right for two epochs only": (9, "after 160 of 320", ("epochs * 60_000", "2 * 4_000"), STEP_RATE),
    "10 the epoch alone": (
        10,
        "from step 81 on",
        (STATE, '{"model": model.state_dict(), "epoch": epoch}'),
        (RESUMED, '    return checkpoint["epoch"]'),
    ),
    "10 the optimizer alone": (
        10,
        "80 + 240",
        (STATE, "[model.state_dict(), optimizer.state_dict()]"),
        ('    model.set_state_dict(checkpoint["model"])', f"{SET_MODEL}\n{SET_OPTIMIZER}"),
    ),
    "10 the objects themselves": (10, "Sequential", (STATE, '{"model": model}')),
    "10 constant losses": (10, "mean loss of 2.00", ("losses.append(loss.item())", "losses.append(2.0)")),
}

RETURN = "    return model\n"
# what it is -> (text, words of the message)
BAD = {
    "syntax": ("def train(:\n", "script.py, line 1: SyntaxError: "),
    "crash": ("import paddle\n\n1 / 0\n", "script.py, line 3: ZeroDivisionError: division by zero"),
    "exit": ("import sys\nsys.exit('enough')\n", "script.py, line 2: SystemExit: enough"),
    "input": ("input()\n", "script.py, line 1: "),
    "empty": ("", "script.py has no function prepare, make_model, loss_function, train; the check needs"),
    "no function": ("train = 3\n", "train"),
    "not UTF-8": ("text = '\udcff'\n", "SyntaxError"),
    "no network": (
        changed(1, (RETURN, "    return None\n")),
        "must return the trained network; it returned an object of type NoneType",
    ),
    "another network": (changed(1, (RETURN, "    return nn.Linear(784, 1)\n")), "must be one that make_model() made"),
    "another signature": (changed(1, ("epochs=10", ""), ("range(epochs)", "range(4)")), "unexpected keyword argument 'epochs'"),
    "an error of Paddle": (changed(1, ("nn.Linear(784, 1)", "nn.Linear(783, 1)")), "line 30: ValueError"),
}
