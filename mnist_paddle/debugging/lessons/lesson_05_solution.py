# en: A network of any depth. After training its weights are saved, and loaded into a new network.
# zh: 任意深度的网络。训练后保存权重，再装入一个新的网络。
from mnist_paddle import load_dataset

import paddle
import paddle.nn.functional as F
from paddle import nn


class Network(nn.Layer):
    def __init__(self, widths=(784, 100, 100)):
        super().__init__()
        self.hidden = nn.LayerList([nn.Linear(width, after) for width, after in zip(widths, widths[1:])])
        self.output = nn.Linear(widths[-1], 10)

    def forward(self, values):
        for layer in self.hidden:
            values = F.relu(layer(values))
        return self.output(values)


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def accuracy(model, images, labels):
    return 100 * (model(images).argmax(1) == labels).astype("float32").mean().item()


def make_model(seed=0):
    paddle.seed(seed)
    return Network()


def train(epochs=6):
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model = make_model()
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    for epoch in range(epochs):
        for start in range(0, 4000, 50):
            loss = F.cross_entropy(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        # en: A network with other initial weights, into which those of the trained one are loaded.
        # zh: 初始权重不同的另一个网络，装入训练好的权重。
        loaded = make_model(seed=1)
        loaded.set_state_dict(model.state_dict())
        both = accuracy(model, images, labels), accuracy(loaded, images, labels)
        print(f"epoch {epoch + 1}  trained {both[0]:.1f} %  loaded {both[1]:.1f} %")
    print(f"weights {sum(weights.size for weights in model.parameters()):,}")
    return model


if __name__ == "__main__":
    train()
