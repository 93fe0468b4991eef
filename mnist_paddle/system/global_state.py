"""Paddle's global state: a run in a notebook behaves as in a fresh process and leaves the notebook's state unchanged."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import paddle
from paddle.base import initializer

from . import startup

DTYPE = "float32"  # of networks and images
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def fresh_global_state() -> Iterator[None]:
    """Reset Paddle's global state to that after import, and restore the caller's state on exit.

    Also a decorator: `@fresh_global_state()`. Reset and restored: static mode, no_grad, automatic mixed precision, the default
    dtype, the global initializer, NumPy's floating-point error handling and warning filters. Only restored: the device, the
    random state and signal handlers.
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
        # NumPy's own defaults: a user's seterr(all="raise") would turn an underflow in a softmax into an error.
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(warnings.catch_warnings())
        startup.quiet_libraries()
        yield


def _reset_initializers(stack: ExitStack) -> None:
    """Remove a global initializer, which would silently replace those of the networks."""
    previous = initializer._global_weight_initializer(), initializer._global_bias_initializer()
    stack.callback(initializer.set_global_initializer, *previous)
    initializer.set_global_initializer(None)


def _restore_random_state(stack: ExitStack) -> None:
    """Restore the random state on exit: a run seeds Paddle's generators in every step."""
    state = paddle.get_rng_state()
    stack.callback(lambda: paddle.set_rng_state(state))


def _restore_handlers(stack: ExitStack) -> None:
    """Restore signal handlers on exit. Only the main thread can set them."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if handler is not None:  # None: not set by Python, so Python can't restore it
            stack.callback(signal.signal, number, handler)
