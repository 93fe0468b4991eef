"""A run in a notebook ends as in a fresh process, and the notebook is afterwards as it was."""

import signal
import threading
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import paddle
from paddle.base import initializer

from . import startup

DTYPE = "float32"  # what networks and images are made in
# NumPy's own defaults: a user's seterr(all="raise") would turn an underflow in a softmax into an error.
FLOAT_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def clean_paddle():
    """Inside, paddle is as after its import; afterwards it is as it was before. Also a decorator: `@clean_paddle()`.

    Reset and restored: static mode, gradients switched off, automatic mixed precision, the default dtype, the global
    initializer, NumPy's floating-point errors and warnings as errors. Restored: the device, random state, signal handlers.
    """
    with ExitStack() as stack:
        if not paddle.in_dynamic_mode():
            paddle.disable_static()
            stack.callback(paddle.enable_static)
        stack.callback(paddle.set_default_dtype, paddle.get_default_dtype())
        paddle.set_default_dtype(DTYPE)
        _reset_initializers(stack)
        _restore_random_state(stack)
        stack.callback(paddle.set_device, paddle.get_device())
        _restore_handlers(stack)
        stack.enter_context(paddle.set_grad_enabled(True))
        stack.enter_context(paddle.amp.auto_cast(enable=False))
        stack.enter_context(np.errstate(**FLOAT_ERRORS))
        stack.enter_context(warnings.catch_warnings())
        startup.quiet_libraries()
        yield


def _reset_initializers(stack: ExitStack) -> None:
    """A global initializer would silently replace those of the networks."""
    own = initializer._global_weight_initializer(), initializer._global_bias_initializer()
    stack.callback(initializer.set_global_initializer, *own)
    initializer.set_global_initializer(None)


def _restore_random_state(stack: ExitStack) -> None:
    """A run seeds paddle's generators in every step; the user's own numbers go on where they were."""
    state = paddle.get_rng_state()
    stack.callback(lambda: paddle.set_rng_state(state))


def _restore_handlers(stack: ExitStack) -> None:
    """Put signal handlers back; only the main thread may, and only it sets any."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if handler is not None:  # None: not set by Python, so Python can't put it back
            stack.callback(signal.signal, number, handler)
