# en: A training with the learning rate of somebody in a hurry.
# zh: 急于求成的人设定的学习率。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return paddle.optimizer.SGD(learning_rate=5.0, parameters=model.parameters())


def train(epochs=4):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    optimizer = make_optimizer(model)
    for step in range(80 * epochs):
        start = step * 50 % 4000
        loss = F.cross_entropy(model(images[start : start + 50]), labels[start : start + 50])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if step < 10 or step % 40 == 0:
            print(f"step {step:3}  loss {loss.item():.3f}")
    return model


if __name__ == "__main__":
    train()
