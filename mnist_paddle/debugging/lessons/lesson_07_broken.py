# en: Training, and a function that recognizes new images, written a week later for the application.
# zh: 训练，以及一周之后为应用程序写的、识别新图片的函数。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def predict(model, images):
    # en: Images [n, 28, 28] as they come from the dataset -> digits [n].
    # zh: 数据集中原样的图片 [n, 28, 28] -> 数字 [n]。
    pixels = paddle.to_tensor(images.reshape([-1, 784]).astype("float32"))
    return model(1 - pixels / 255).argmax(1).numpy()


def train(epochs=6):
    digits = load_dataset("mnist")
    images, labels = prepare(digits.train.images[:4000]), paddle.to_tensor(digits.train.labels[:4000].astype("int64"))
    model = make_model()
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters())
    for epoch in range(epochs):
        for start in range(0, 4000, 50):
            loss = F.cross_entropy(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        training = 100 * (model(images).argmax(1) == labels).astype("float32").mean().item()
        new = 100 * (predict(model, digits.validation.images[:1000]) == digits.validation.labels[:1000]).mean()
        print(f"epoch {epoch + 1}  loss {loss.item():.3f}  training {training:.1f} %  new {new:.1f} %")
    return model


if __name__ == "__main__":
    train()
