# en: A network with dropout, evaluated after every epoch on images it was not trained on: twice, to be sure.
# zh: 带 dropout 的网络；每轮训练之后在未用于训练的图片上评估，为稳妥起见评估两次。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Dropout(0.5), nn.Linear(100, 10))


def evaluate(model, images, labels):
    model.eval()
    with paddle.no_grad():
        outputs = model(images)
    model.train()
    return 100 * (outputs.argmax(1) == labels).astype("float32").mean().item()


def load(split, count):
    return prepare(split.images[:count]), paddle.to_tensor(split.labels[:count].astype("int64"))


def train(epochs=8):
    digits = load_dataset("mnist")
    images, labels = load(digits.train, 4000)
    model = make_model()
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters())
    for epoch in range(epochs):
        for start in range(0, 4000, 50):
            loss = F.cross_entropy(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        first, second = (evaluate(model, *load(digits.validation, 1000)) for _ in range(2))
        print(f"epoch {epoch + 1}  first {first:.1f} %  second {second:.1f} %")
    return model


if __name__ == "__main__":
    train()
