# en: A training that is stopped after two of four epochs and resumed from a checkpoint.
# zh: 训练四轮，在两轮之后中断，再从检查点恢复。
from mnist_paddle import load_dataset

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


def prepare(images):
    return paddle.to_tensor(images.reshape([-1, 784]).astype("float32") / 255)


def make_model():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def save(model, optimizer, epoch):
    # en: What paddle.save would write to a file.
    # zh: 相当于 paddle.save 写入文件的内容。
    return {"model": model.state_dict()}


def restore(checkpoint, model, optimizer):
    # en: Returns the epoch to continue with.
    # zh: 返回应从哪一轮继续。
    model.set_state_dict(checkpoint["model"])
    return 0


def train(epochs=4, checkpoint=None):
    # en: Trains until `epochs` epochs are done, from the checkpoint if there is one. Returns all losses and a new checkpoint.
    # zh: 训练到总共完成 epochs 轮为止；有检查点则从它继续。返回各步的损失和新的检查点。
    digits = load_dataset("mnist").train
    images, labels = prepare(digits.images[:4000]), paddle.to_tensor(digits.labels[:4000].astype("int64"))
    model, losses = make_model(), []
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    first = restore(checkpoint, model, optimizer) if checkpoint else 0
    for epoch in range(first, epochs):
        order = np.random.default_rng(epoch).permutation(4000)
        for start in range(0, 4000, 50):
            batch = paddle.to_tensor(order[start : start + 50])
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(loss.item())
    return losses, save(model, optimizer, epochs)


def fresh(**arguments):
    # en: As in a process of its own: Paddle names the weights by counting, and the optimizer's state by those names.
    # zh: 如同在新的进程中：Paddle 按计数给权重命名，优化器的状态又以这些名称为键。
    with paddle.utils.unique_name.guard():
        return train(**arguments)


if __name__ == "__main__":
    straight, _ = fresh(epochs=4)
    stopped, checkpoint = fresh(epochs=2)
    resumed, _ = fresh(epochs=4, checkpoint=checkpoint)
    print(f"steps: {len(straight)} without a stop, {len(stopped)} + {len(resumed)} with one")
    for step in [*range(140, 160, 5), *range(160, 180, 2), *range(180, 240, 10)]:
        with_stop = [*stopped, *resumed][step]
        print(f"step {step:3}  straight {straight[step]:.3f}  stopped {with_stop:.3f}")
