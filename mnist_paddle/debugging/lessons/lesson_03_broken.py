# en: A training loop with its three steps in a function: loss, gradients, update.
# zh: 训练循环；每一步写成一个函数：损失、梯度、更新。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def train_step(model, optimizer, images, labels):
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def train(epochs=4):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    for step in range(80 * epochs):
        start = step * 50 % 4000
        loss = train_step(model, optimizer, images[start : start + 50], labels[start : start + 50])
        if step % 20 == 0:
            print(f"step {step:3}  loss {loss:.3f}")
    return model


if __name__ == "__main__":
    train()
