"""Parameter server: the ranks send their gradients to rank 0, which makes the update and sends the parameters back.

    worker 1 --gradients--> server: w = w - rate * sum of gradients --parameters--> worker 1
    worker 2 --gradients-->                                          --parameters--> worker 2

This is how data parallelism was first built (Dean et al. 2012; Li et al. 2014), here in its synchronous form, with a server
that also works on its own shard of the batch. The weights are those of all-reduce; what differs is the traffic. The server's
link carries every rank's gradients in and as many parameters out, 2 (N - 1) times the network, while in a ring all-reduce no
link carries more than 2 (N - 1) / N times the network. Only the server holds the optimizer's state.
"""

import paddle
import paddle.distributed as dist

from .data_parallel import average_statistics
from .strategy import Strategy, flatten, unflatten_into

SERVER = 0


class ParameterServer(Strategy):
    """Rank 0 makes the update for all ranks. Nothing is exchanged in the backward pass."""

    @paddle.no_grad()
    def update(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, share: float) -> None:
        """Send the gradients to the server; its step; receive the parameters."""
        if self.world_size == 1:
            optimizer.step()
            return
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        gradients = flatten([parameter.grad for parameter in parameters])
        dist.reduce(gradients, dst=SERVER)  # the server receives the sum
        if self.rank == SERVER:
            unflatten_into([parameter.grad for parameter in parameters], gradients / self.world_size)
            optimizer.step()
        weights = flatten(parameters)
        dist.broadcast(weights, src=SERVER)
        if self.rank != SERVER:
            unflatten_into(parameters, weights)
        average_statistics(model, share)
