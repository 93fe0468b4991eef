"""Parameter server: the ranks send their gradients to rank 0, which makes the update and sends the parameters back.

    worker 1 --gradients--> server: w = w - rate * sum of gradients --parameters--> worker 1
    worker 2 --gradients-->                                          --parameters--> worker 2

It is data parallelism as it was first built (Dean et al. 2012; Li et al. 2014), here in its synchronous form, with the server
working on its own share of the batch too. The weights are those of all-reduce; what differs is the traffic. The server's line
carries every rank's gradients in and as many parameters out, 2 (N - 1) times the network, while in a ring all-reduce no line
carries more than 2 (N - 1) / N times of it. The optimiser's state lies on the server alone.
"""

import paddle
import paddle.distributed as dist

from .data_parallel import Replicas, pack, unpack


class Server(Replicas):
    """Data parallel through a parameter server on rank 0."""

    def replicate(self, model):
        """The network itself: nothing is exchanged in the backward pass."""
        return model

    @paddle.no_grad()
    def update(self, model, optimizer, share: float) -> None:
        """Gradients to the server, its step, parameters back."""
        if self.world_size == 1:
            return super().update(model, optimizer, share)
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        gradients = pack([parameter.grad for parameter in parameters])
        dist.reduce(gradients, dst=0)  # the server receives the sum
        if self.rank == 0:
            unpack(gradients / self.world_size, [parameter.grad for parameter in parameters])
            optimizer.step()
        weights = pack(parameters)
        dist.broadcast(weights, src=0)
        if self.rank != 0:
            unpack(weights, parameters)
        self.average_statistics(model, share)
