# en: The learning rate is to fall from 1.0 at the first step to 0.01 at the last.
# zh: 学习率应从第一步的 1.0 降到最后一步的 0.01。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn

BATCH = 50


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def train(epochs=4):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    steps = epochs * 60_000 // BATCH
    rate = paddle.optimizer.lr.PolynomialDecay(1.0, decay_steps=steps, end_lr=0.01)
    optimizer = paddle.optimizer.SGD(rate, parameters=model.parameters())
    for step in range(epochs * len(images) // BATCH):
        start = step * BATCH % len(images)
        loss = F.cross_entropy(model(images[start : start + BATCH]), labels[start : start + BATCH])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if step % 20 == 0:
            print(f"step {step:3}  rate {optimizer.get_lr():.4f}  loss {loss.item():.3f}")
    return model


if __name__ == "__main__":
    train()
