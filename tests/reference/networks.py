"""The models in PyTorch, from their textbook definitions. Imported only by make.py.

Convolution, bias, activation, pool; with a norm convolution, pool, norm, activation, which is the toolkit's order. Matrices of
linear layers are [inputs, outputs], as Paddle has them; everything else is PyTorch's.
"""

import cases
import torch
import torch.nn.functional as F

ACTIVATIONS = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "identity": lambda x: x,
}


class Network:
    """A network whose weights are sampled in the order of Paddle's parameters in its first forward pass."""

    def __init__(self, name, activation=None, norm=None, outputs=10, **arguments):
        self.activation = ACTIVATIONS[activation or ("tanh" if name == "lenet" else "relu")]
        self.norm = norm or ("batch" if name == "resnet" else "none")
        self.outputs, self.arguments, self.weights, self.recurrent = outputs, arguments, [], None
        self.forward = getattr(self, name)

    def __call__(self, images):
        self.used = 0
        return self.forward(images, **self.arguments)

    def take(self, *shape):
        """The next weight, drawn when it is asked for first."""
        if self.used == len(self.weights):
            shapes = [tuple(weight.shape) for weight in self.weights] + [shape]
            self.weights.append(torch.tensor(cases.parameters(shapes)[-1], requires_grad=True))
        self.used += 1
        return self.weights[self.used - 1]

    def dense(self, x, width):
        """A linear layer."""
        matrix = self.take(x.shape[1], width)
        return x @ matrix + self.take(width)

    def normed(self, x):
        """Batch or group normalization with learnt weight and bias."""
        width = x.shape[1]
        weight, bias = self.take(width), self.take(width)
        if self.norm == "batch":
            return F.batch_norm(x, None, None, weight, bias, training=True)
        return F.group_norm(x, 4 if width % 4 == 0 else 1, weight, bias)

    def block(self, x, channels, kernel, pool=1, padding=None, activation=None):
        """A convolution with what belongs to it."""
        activation = activation or self.activation
        kernels = self.take(channels, x.shape[1], kernel, kernel)
        padding = kernel // 2 if padding is None else padding
        if self.norm == "none":
            return F.max_pool2d(activation(F.conv2d(x, kernels, self.take(channels), padding=padding)), pool)
        return activation(self.normed(F.max_pool2d(F.conv2d(x, kernels, padding=padding), pool)))

    def linear(self, x):
        return self.dense(x.flatten(1), self.outputs)

    def fc(self, x, widths):
        x = x.flatten(1)
        for width in widths:
            x = self.dense(x, width)
            x = self.activation(x if self.norm == "none" else self.normed(x))
        return self.dense(x, self.outputs)

    def cnn(self, x, channels, kernel, hidden=0):
        for width in channels:
            x = self.block(x, width, kernel, pool=2)
        x = x.flatten(1)
        return self.dense(self.activation(self.dense(x, hidden)) if hidden else x, self.outputs)

    def lenet(self, x):
        x = self.block(self.block(x, 6, 5, pool=2), 16, 5, pool=2, padding=0).flatten(1)
        x = self.activation(self.dense(x, 120))
        return self.dense(self.activation(self.dense(x, 84)), self.outputs)

    def rnn(self, x, cell, hidden, layers):
        made = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](28, hidden, layers, batch_first=True)
        weights = {name: self.take(*weight.shape) for name, weight in made.named_parameters()}
        states, _ = torch.func.functional_call(made, weights, (x[:, 0],))
        return self.dense(states[:, -1], self.outputs)

    def resnet(self, x, channels, blocks=1):
        for width in channels:
            x = self.block(x, width, 3, pool=2)
            for _ in range(blocks):
                inner = self.block(self.block(x, width, 3), width, 3, activation=ACTIVATIONS["identity"])
                x = self.activation(x + inner)
        return self.dense(x.mean(dim=(2, 3)), self.outputs)
