# en: The course's first network: a linear layer with one output guesses the digit as a number.
# zh: 课程的第一个网络：只有一个输出的线性层，把数字当作一个数值来预测。
from mnist_paddle import load_dataset

import paddle
from paddle import nn


def prepare(images):
    # en: Pixels from 0 to 255, [n, 28, 28] -> numbers from 0 to 1, [n, 784].
    # zh: 0 到 255 的像素 [n, 28, 28] -> 0 到 1 的数 [n, 784]。
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Linear(784, 1)


def loss_function(outputs, labels):
    # en: Mean squared error.
    # zh: 均方误差。
    return ((outputs.squeeze(1) - labels) ** 2).mean()


def train(epochs=10):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("float32"))
    model = make_model()
    optimizer = paddle.optimizer.SGD(0.01, parameters=model.parameters())
    for epoch in range(epochs):
        for start in range(0, 4000, 50):
            loss = loss_function(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        print(f"epoch {epoch + 1:2}  loss {loss_function(model(images[:1000]), labels[:1000]).item():.3f}")
    return model


if __name__ == "__main__":
    train()
