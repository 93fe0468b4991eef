# en: A classifier with ten outputs: fully connected layers, softmax, cross entropy.
# zh: 有十个输出的分类器：全连接层、softmax、交叉熵。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(
        nn.Linear(784, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
        nn.Softmax(),
    )


def loss_function(outputs, labels):
    return F.cross_entropy(outputs, labels)


def train(epochs=8):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    for epoch in range(epochs):
        for start in range(0, 4000, 50):
            loss = loss_function(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        outputs = model(images)
        accuracy = 100 * (outputs.argmax(1) == labels).astype("float32").mean().item()
        print(f"epoch {epoch + 1}  loss {loss_function(outputs, labels).item():.3f}  accuracy {accuracy:.1f} %")
    return model


if __name__ == "__main__":
    train()
