# en: A network with its hidden values limited to 0 ... 6, which keeps them in range.
# zh: 一个把隐藏层的值限制在 0 到 6 之间的网络，使这些值不会过大。
from mnist_paddle import load_dataset

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


class Network(nn.Layer):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(784, 100)
        self.output = nn.Linear(100, 10)

    def forward(self, images):
        values = np.clip(self.hidden(images).numpy(), 0, 6)
        return self.output(paddle.to_tensor(values))


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return Network()


def train(epochs=4):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    before = {name: weights.numpy().copy() for name, weights in model.named_parameters()}
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    for step in range(80 * epochs):
        start = step * 50 % 4000
        loss = F.cross_entropy(model(images[start : start + 50]), labels[start : start + 50])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if step % 20 == 0:
            print(f"step {step:3}  loss {loss.item():.3f}")
    for name, weights in model.named_parameters():
        # en: How far the weights have moved since the start.
        # zh: 权重从训练开始以来变化了多少。
        print(f"{name:13}  changed by {abs(weights.numpy() - before[name]).mean():.4f}")
    return model


if __name__ == "__main__":
    train()
